"""ActMat: against stacked least squares, and where it is singular."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.actmat import regression_on_vectors


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stacked(vectors, ridge=0.0):
    """tau [tau_1^T tau_2^T ...] = [tau_1 tau_1^T ...], in the least squares; a ridge as rows more."""
    left = np.concatenate([*vectors, np.sqrt(ridge) * np.eye(vectors[0].shape[1])])
    right = np.concatenate([v @ v.T for v in vectors] + [np.zeros((vectors[0].shape[1], len(vectors[0])))])
    return np.linalg.lstsq(left, right, rcond=None)[0].T


@pytest.mark.parametrize(("tasks", "shape"), [(1, (4, 3)), (2, (6, 5)), (3, (4, 9)), (2, (3, 9))])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_it_is_the_least_squares_solution_and_the_smallest_where_there_are_several(tasks, shape, ridge):
    vectors = normal(0, tasks, *shape)
    added = ridge * np.mean(np.diag(sum(v.T @ v for v in vectors.numpy())))
    found = regression_on_vectors(vectors, ridge)
    np.testing.assert_allclose(found.numpy(), stacked(list(vectors.numpy()), added), rtol=1e-6, atol=1e-8)


def test_tasks_that_read_other_inputs_are_summed_as_they_are():
    vectors = torch.tensor([[[1.0, 0, 0], [2, 0, 0]], [[0, 3, 0], [0, 1, 0]]], dtype=torch.float64)
    torch.testing.assert_close(regression_on_vectors(vectors, 0.0), vectors.sum(0))


def test_every_matrix_is_merged_by_itself_and_all_else_averaged(mini):
    base = mini.encoder(dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    merged = mergebench.merge("actmat", base, experts, scaling=0.9)
    matrices = 0
    for name, value in start.items():
        vectors = [(e[name] - value).squeeze().numpy() for e in experts.values()]
        delta = np.mean(vectors, axis=0)
        if vectors[0].ndim == 2 and min(vectors[0].shape) > 1:
            matrices += 1
            parts = zip(*(np.split(v, 3 if name.endswith("attn.qkv.weight") else 1) for v in vectors), strict=True)
            delta = np.concatenate([stacked(list(part)) for part in parts])
        expected = value.numpy() + 0.9 * delta.reshape(value.shape)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-6, atol=1e-8, err_msg=name)
    assert matrices == 4 * len(base.blocks) + 1


@pytest.mark.parametrize("wrong", [{"ridge": -1}, {"scaling": "much"}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("actmat", base, mini.experts(base), **wrong)
