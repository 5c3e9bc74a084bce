"""TSV-M, Iso-C and Iso-CTS: against NumPy in float64, matrix by matrix, query, key and value each by itself."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.methods.iso import common_and_specific
from mergebench.methods.spectral import polar_factor


def polar(matrix):
    """By Newton's iteration on the Gram: X (X^T X)^(-1/2), for a tall matrix; no SVD is shared with the code."""
    if matrix.shape[0] < matrix.shape[1]:
        return polar(matrix.T).T
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    return matrix @ (vectors / np.sqrt(values)) @ vectors.T


def triplets(matrix, count):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :count], values[:count], right[:count]


def tsv_m(vectors):
    share = max(1, min(vectors[0].shape) // len(vectors))
    parts = [triplets(v, share) for v in vectors]
    lefts, rights = np.hstack([p[0] for p in parts]), np.vstack([p[2] for p in parts])
    return polar(lefts) @ np.diag(np.concatenate([p[1] for p in parts])) @ polar(rights)


def iso_c(vectors):
    # The polar factor of the sum is U V^T, whatever signs an SVD gives its vectors.
    total = sum(vectors)
    return np.linalg.svd(total, compute_uv=False).mean() * polar(total)


def iso_cts(vectors, common=0.8):
    rank = min(vectors[0].shape)
    own = round((rank - int(common * rank)) / len(vectors))
    left, values, right = triplets(sum(vectors), rank - own * len(vectors))
    specific = [triplets(v - left @ left.T @ v, own) for v in vectors]
    lefts, rights = np.hstack([*(s[0] for s in specific), left]), np.vstack([*(s[2] for s in specific), right])
    spectrum = np.concatenate([*(s[1] for s in specific), values])
    return spectrum.mean() * polar(lefts) @ polar(rights)


METHODS = {"tsv_m": (tsv_m, 1.0), "iso_c": (iso_c, 1.3), "iso_cts": (iso_cts, 1.5)}


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base.state_dict(), mini.experts(base), base


@pytest.mark.parametrize("method", METHODS)
def test_every_matrix_is_merged_by_itself_and_query_key_and_value_are_three(case, method):
    start, experts, base = case
    reference, scaling = METHODS[method]
    merged = mergebench.merge(method, base, experts)
    matrices = 0
    for name, value in start.items():
        vectors = [(e[name] - value).squeeze().numpy() for e in experts.values()]
        if vectors[0].ndim == 2 and min(vectors[0].shape) > 1:
            matrices += 1
            thirds = 3 if name.endswith("attn.qkv.weight") else 1
            parts = zip(*(np.split(v, thirds) for v in vectors), strict=True)
            delta = np.concatenate([reference(list(part)) for part in parts]).reshape(value.shape)
        else:
            delta = np.mean([(e[name] - value).numpy() for e in experts.values()], axis=0)
        expected = value.numpy() + scaling * delta
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-7, atol=1e-9, err_msg=name)
    assert matrices == 4 * len(base.blocks) + 1  # the linear layers, and the positions


@pytest.mark.parametrize("method", METHODS)
def test_a_fused_matrix_gives_what_three_of_their_own_give(mini, case, method):
    start, experts, base = case
    merged = mergebench.merge(method, base, experts)
    name = "blocks.0.attn.qkv.weight"
    for third in range(3):
        # An encoder whose projection holds one of the three in all places: what is merged must not know its place.
        def only(state, third=third):
            part = state[name].chunk(3)[third]
            return dict(state, **{name: torch.cat([part] * 3)})

        alone = mini.load(base, only(start))
        again = mergebench.merge(method, alone, {t: only(e) for t, e in experts.items()})
        for part in again[name].chunk(3):
            torch.testing.assert_close(part, merged[name].chunk(3)[third], rtol=1e-9, atol=1e-11)


def test_the_spectrum_of_iso_is_flat_and_keeps_its_mean(case):
    start, experts, base = case
    merged = mergebench.merge("iso_c", base, experts, scaling=1.0)
    name = "blocks.1.mlp.fc1.weight"
    values = torch.linalg.svdvals(merged[name] - start[name])
    total = torch.linalg.svdvals(sum(e[name] - start[name] for e in experts.values()))
    torch.testing.assert_close(values, total.mean().expand(len(values)))


@pytest.mark.parametrize("tasks", [1, 2, 7])
@pytest.mark.parametrize("common", [0.0, 0.3, 0.8, 1.0])
def test_common_and_specific_directions_together_are_no_more_than_there_are(tasks, common):
    vectors = torch.randn(tasks, 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = common_and_specific(vectors, common)
    values = torch.linalg.svdvals(made)
    torch.testing.assert_close(values, values.mean().expand(5))
    if common == 1.0 or tasks == 1:
        left, total, right = torch.linalg.svd(vectors.sum(0), full_matrices=False)
        torch.testing.assert_close(made, total.mean() * left @ right)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_the_polar_factor_is_orthonormal_and_leaves_what_is(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    factor = polar_factor(matrix)
    short = factor @ factor.T if shape[0] < shape[1] else factor.T @ factor
    torch.testing.assert_close(short, torch.eye(min(shape), dtype=torch.float64))
    torch.testing.assert_close(polar_factor(factor), factor)
    np.testing.assert_allclose(factor.numpy(), polar(matrix.numpy()), rtol=1e-9, atol=1e-12)


def test_one_expert_alone_comes_back_from_tsv_m(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("tsv_m", base, {"birds": expert})
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-9, atol=1e-11)
