"""TSV-M, Iso-C and Iso-CTS: against NumPy in float64, matrix by matrix, query, key and value each by itself."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.iso import common_and_specific, flattened_sum
from mergebench.methods.spectral import polar_factor
from mergebench.methods.spectral import triplets as spectral_triplets
from mergebench.methods.tsv_m import decorrelated_sum


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


PER_MATRIX = {
    "tsv_m": decorrelated_sum,
    "iso_c": flattened_sum,
    "iso_cts": lambda vectors: common_and_specific(vectors, 0.5),
}


def task_matrices(count, rows=9, columns=6, seed=0):
    return torch.randn(count, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PER_MATRIX)
@pytest.mark.parametrize("where", [(slice(None), 4), (slice(None), slice(None), 2)])
def test_rows_and_columns_that_no_task_changed_stay_as_they_were(name, where):
    vectors = task_matrices(2)
    vectors[where] = 0
    merged = PER_MATRIX[name](vectors)
    assert merged.abs().max() > 0.1
    assert merged[where[1:]].abs().max() < 1e-12


@pytest.mark.parametrize("name", PER_MATRIX)
def test_where_no_task_changed_anything_nothing_is_added(name):
    assert torch.equal(PER_MATRIX[name](torch.zeros(3, 5, 7)), torch.zeros(5, 7))


def test_a_task_that_left_a_matrix_alone_does_not_turn_the_directions_of_the_others():
    one, two = task_matrices(2)
    together = decorrelated_sum(torch.stack([one, two, torch.zeros_like(one)]))
    share = [triplets(v.numpy(), 2) for v in (one, two)]
    lefts, rights = np.hstack([s[0] for s in share]), np.vstack([s[2] for s in share])
    expected = polar(lefts) @ np.diag(np.concatenate([s[1] for s in share])) @ polar(rights)
    np.testing.assert_allclose(together.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_copies_of_one_expert_give_its_leading_triplets_to_tsv_m():
    (vector,) = task_matrices(1)
    left, values, right = triplets(vector.numpy(), 2)
    merged = decorrelated_sum(torch.stack([vector] * 3))
    np.testing.assert_allclose(merged.numpy(), left @ np.diag(values) @ right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("shape", "tasks", "kept"), [((9, 6), 1, 6), ((9, 6), 4, 1), ((6, 9), 2, 3), ((3, 4), 5, 1)])
def test_tsv_m_keeps_the_share_rounded_down_but_at_least_one(shape, tasks, kept):
    rank = torch.linalg.matrix_rank(decorrelated_sum(task_matrices(tasks, *shape)))
    assert rank == min(tasks * kept, *shape)


def test_common_directions_take_up_what_does_not_divide():
    # r = 6, k = int(0.5 * 6) = 3: the other 3 dealt to 4 tasks are round(3 / 4) = 1 each, which leaves 2 to the sum.
    vectors = task_matrices(4)
    left = np.linalg.svd(vectors.sum(0).numpy())[0][:, :2]
    merged = common_and_specific(vectors, 0.5).numpy()
    specific = [triplets(v - left @ left.T @ v, 1) for v in vectors.numpy()]
    spectrum = [*np.linalg.svd(vectors.sum(0).numpy(), compute_uv=False)[:2], *(s[1][0] for s in specific)]
    np.testing.assert_allclose(np.linalg.svd(merged, compute_uv=False), np.full(6, np.mean(spectrum)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triplets_rebuild_a_matrix_and_are_none_beyond_its_rank(dtype):
    tall, wide = task_matrices(1, 40, 3)[0].to(dtype), task_matrices(1, 3, 30, seed=1)[0].to(dtype)
    left, values, right = spectral_triplets(tall @ wide)
    torch.testing.assert_close(left * values @ right, tall @ wide)
    assert torch.equal(left[:, 3:], torch.zeros(40, 27, dtype=dtype))
    assert torch.equal(right[3:], torch.zeros(27, 30, dtype=dtype))
    assert (values > 0).sum() == 3
    torch.testing.assert_close(left[:, :3].T @ left[:, :3], torch.eye(3, dtype=dtype))


@pytest.mark.parametrize("method", METHODS)
def test_the_scaling_holds_for_all_parameters_alike(case, method):
    start, experts, base = case
    once, twice = (mergebench.merge(method, base, experts, scaling=s) for s in (1, 2))
    for name, value in start.items():
        torch.testing.assert_close(twice[name] - value, 2 * (once[name] - value), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_negative_scaling_is_refused(mini, method):
    with pytest.raises(MergebenchError, match="scaling=-1"):
        mergebench.merge(method, mini.encoder(), mini.experts(mini.encoder()), scaling=-1)


def test_one_expert_alone_comes_back_from_tsv_m(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("tsv_m", base, {"birds": expert})
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-9, atol=1e-11)
