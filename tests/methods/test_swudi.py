"""SWUDI and ASWUDI: against the flow of WUDI's own loss, its least-squares minimum, and NumPy's eigenvectors."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.swudi import effective_rank, filtered_minimum
from mergebench.methods.wudi import interference, least_interference


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def moments(vectors):
    weights = [1 / np.linalg.norm(v) ** 2 for v in vectors]
    shared = sum(w * v.T @ v for w, v in zip(weights, vectors, strict=True))
    return shared, sum(w * v @ v.T @ v for w, v in zip(weights, vectors, strict=True))


def flow(vectors, time):
    """Where tau' = D - tau C arrives from the sum: by the matrix exponential."""
    shared, wanted = moments(vectors)
    rest = scipy.linalg.expm(-time * shared)
    best = wanted @ np.linalg.pinv(shared, rcond=1e-10)
    return best + (sum(vectors) - best) @ rest


@pytest.mark.parametrize(("tasks", "shape"), [(1, (5, 4)), (2, (6, 5)), (3, (5, 9))])
@pytest.mark.parametrize("time", [0.0, 0.7, 30.0])
def test_all_directions_follow_the_gradient_flow(tasks, shape, time):
    vectors = normal(0, tasks, *shape)
    found = filtered_minimum(vectors, shape[1], time)
    np.testing.assert_allclose(found.numpy(), flow(vectors.numpy(), time), rtol=1e-8, atol=1e-10)


def test_without_an_end_it_is_wudis_minimum():
    vectors = normal(1, 3, 6, 4)
    found = filtered_minimum(vectors, 4)
    shared, wanted = moments(vectors.numpy())
    np.testing.assert_allclose(found.numpy(), wanted @ np.linalg.inv(shared), rtol=1e-9)
    stepped = least_interference(vectors, 3000, 5e-3)
    assert interference(found, vectors) <= interference(stepped, vectors) * (1 + 1e-9)
    torch.testing.assert_close(found, stepped, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_directions_that_are_not_kept_have_the_sum(kept):
    vectors = normal(2, 3, 6, 5)
    shared, wanted = moments(vectors.numpy())
    values, directions = np.linalg.eigh(shared)
    found = filtered_minimum(vectors, kept).numpy()
    for place in range(5):
        v = directions[:, -1 - place]
        expected = wanted @ v / values[-1 - place] if place < kept else vectors.sum(0).numpy() @ v
        np.testing.assert_allclose(found @ v, expected, rtol=1e-8, atol=1e-10)


def test_effective_ranks_by_hand():
    values = torch.tensor([9.0, 4.0, 1.0, 0.0], dtype=torch.float64)
    assert effective_rank(values) == math.ceil(36 / 14)
    assert [effective_rank(torch.full((n,), 0.3, dtype=torch.float64)) for n in (1, 3, 7)] == [1, 3, 7]
    assert effective_rank(torch.zeros(3, dtype=torch.float64)) == 0


@given(st.floats(-8, 8), st.integers(0, 10))
def test_the_unit_of_the_weights_does_not_matter(exponent, seed):
    vectors, unit = normal(seed, 2, 4, 3), 10.0**exponent
    for kept, time in ((None, math.inf), (2, 1300.0)):
        torch.testing.assert_close(
            filtered_minimum(unit * vectors, kept, time) / unit, filtered_minimum(vectors, kept, time),
            rtol=1e-6, atol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["swudi", "aswudi"])
def test_every_matrix_is_merged_by_itself_and_all_else_averaged(mini, name):
    base = mini.encoder(dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    merged = mergebench.merge(name, base, experts, scaling=0.8)
    matrices = 0
    for key, value in start.items():
        vectors = [(e[key] - value).squeeze().numpy() for e in experts.values()]
        expected = np.mean(vectors, axis=0)
        if vectors[0].ndim == 2 and min(vectors[0].shape) > 1:
            matrices += 1
            thirds = 3 if key.endswith("attn.qkv.weight") else 1
            parts = []
            for part in zip(*(np.split(v, thirds) for v in vectors), strict=True):
                shared, wanted = moments(part)
                values, directions = np.linalg.eigh(shared)
                values, directions = np.clip(values[::-1], 1e-8, None), directions[:, ::-1]
                spread = np.clip(np.linalg.eigvalsh(shared), 0, None)
                kept = math.ceil(0.65 * len(values))
                if name == "aswudi":
                    kept = math.ceil(np.sqrt(spread).sum() ** 2 / spread.sum())
                share = -np.expm1(-1300 * values) if name == "swudi" else np.ones_like(values)
                part_sum = sum(part)
                found = part_sum.copy()
                for i in range(kept):
                    v = directions[:, i]
                    found += share[i] * np.outer(wanted @ v / values[i] - part_sum @ v, v)
                parts.append(found)
            expected = np.concatenate(parts)
        expected = value.numpy() + 0.8 * expected.reshape(value.shape)
        np.testing.assert_allclose(merged[key].numpy(), expected, rtol=1e-6, atol=1e-8, err_msg=key)
    assert matrices == 4 * len(base.blocks) + 1


@pytest.mark.parametrize("name", ["swudi", "aswudi", "actmat"])
def test_one_expert_alone_comes_back_and_what_none_moved_stays(mini, name):
    base = mini.encoder(dtype=torch.float64)
    expert, start = mini.expert(base, 0), base.state_dict()
    frozen = "blocks.0.mlp.fc1.weight"
    expert[frozen] = start[frozen].clone()
    merged = mergebench.merge(name, base, {"birds": expert})
    for key, value in expert.items():
        torch.testing.assert_close(merged[key], value, rtol=0, atol=1e-7)


@pytest.mark.parametrize("wrong", [{"time": -1}, {"share": 1.5}, {"scaling": -0.1}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("swudi", base, mini.experts(base), **wrong)
