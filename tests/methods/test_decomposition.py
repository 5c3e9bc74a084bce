"""Decompositions against NumPy's, whichever side is longer."""

import numpy as np
import pytest
import torch

from mergebench.methods.decomposition import singular_triplets, singular_values


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (3, 4, 11), (2, 1, 6), (6, 1)])
@pytest.mark.parametrize("rank", [None, 1, 0])
def test_triplets_are_numpys(shape, rank):
    matrix = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if rank is not None:
        matrix = matrix[..., :, :rank] @ matrix[..., :rank, :]
    left, values, right = singular_triplets(matrix)
    k = min(shape[-2:])
    assert (left.shape, values.shape) == ((*shape[:-1], k), (*shape[:-2], k)) and right.shape[-2:] == (k, shape[-1])
    expected = np.linalg.svd(matrix.numpy(), compute_uv=False)
    for found in (values, singular_values(matrix)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(left * values[..., None, :] @ right, matrix, rtol=1e-12, atol=1e-13)
    for columns in (left, right.mT):
        identity = torch.eye(k, dtype=torch.float64).expand(*shape[:-2], k, k)
        torch.testing.assert_close(columns.mT @ columns, identity, rtol=0, atol=1e-13)
