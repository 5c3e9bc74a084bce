"""DC-Merge: against SciPy's polar factors and loops over single entries, and cases known by hand."""

import numpy as np
import pytest
import scipy.linalg
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.dc_merge import combined_in_shared_basis


def dc_merge(vectors, density):
    """Of matrices in a list."""
    tasks = len(vectors)
    rank = min(vectors[0].shape) // tasks
    parts = []
    for vector in vectors:
        u, s, vt = np.linalg.svd(vector, full_matrices=False)
        parts.append((u[:, :rank], s[:rank], vt[:rank]))
    left = scipy.linalg.polar(np.hstack([u for u, _, _ in parts]))[0]
    right = scipy.linalg.polar(np.hstack([vt.T for _, _, vt in parts]))[0]
    seen = [left.T @ (u * s @ vt) @ right for u, s, vt in parts]
    kept = max(1, int(density * seen[0].size + 1e-9))
    seen = [np.where(np.abs(m) >= np.sort(np.abs(m).ravel())[-kept], m, 0) for m in seen]
    merged = np.zeros_like(seen[0])
    for block in range(tasks):
        for i in range(block * rank, block * rank + rank):
            for j in range(block * rank, block * rank + rank):
                entries = [m[i, j] for m in seen]
                agreeing = [e for e in entries if e * sum(entries) > 0]
                merged[i, j] = sum(agreeing) / len(agreeing) if agreeing else 0
    return left @ merged @ right.T


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("tasks", "shape"), [(1, (5, 4)), (2, (8, 6)), (3, (6, 10))])
@pytest.mark.parametrize("density", [1e-3, 0.2, 1.0])
def test_against_loops(tasks, shape, density):
    vectors = normal(0, tasks, *shape)
    found = combined_in_shared_basis(vectors, density)
    np.testing.assert_allclose(found.numpy(), dc_merge(list(vectors.numpy()), density), rtol=1e-8, atol=1e-10)


def test_every_matrix_is_merged_by_itself_and_all_else_averaged(mini):
    base = mini.encoder(dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    merged = mergebench.merge("dc_merge", base, experts, scaling=1.4, density=0.05)
    matrices = 0
    for name, value in start.items():
        vectors = [(e[name] - value).squeeze().numpy() for e in experts.values()]
        delta = np.mean(vectors, axis=0)
        if vectors[0].ndim == 2 and min(vectors[0].shape) > 1:
            matrices += 1
            parts = zip(*(np.split(v, 3 if name.endswith("attn.qkv.weight") else 1) for v in vectors), strict=True)
            delta = np.concatenate([dc_merge(list(part), 0.05) for part in parts])
        expected = value.numpy() + 1.4 * delta.reshape(value.shape)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-7, atol=1e-9, err_msg=name)
    assert matrices == 4 * len(base.blocks) + 1


def test_tasks_in_directions_of_their_own_are_summed():
    vectors = torch.zeros(2, 6, 6, dtype=torch.float64)
    vectors[0, :3, :3] = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    vectors[1, 3:, 3:] = torch.diag(torch.tensor([5.0, 4.0, 0.5]))
    torch.testing.assert_close(combined_in_shared_basis(vectors, 1.0), vectors.sum(0))


def test_more_tasks_than_directions_and_tasks_that_did_nothing():
    vectors = normal(1, 4, 3, 5)
    assert torch.isfinite(combined_in_shared_basis(vectors, 0.5)).all()
    vectors[2] = 0
    assert torch.isfinite(combined_in_shared_basis(vectors, 0.5)).all()
    assert torch.equal(combined_in_shared_basis(0 * vectors, 0.5), torch.zeros(3, 5, dtype=torch.float64))


@pytest.mark.parametrize("wrong", [{"density": 1.5}, {"scaling": -1}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("dc_merge", base, mini.experts(base), **wrong)
