"""Singular value decompositions, of matrices the way round in which LAPACK is quick: no wider than long."""

import torch
from torch import Tensor


def singular_triplets(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of matrices [..., m, n]: U [..., m, k], S [..., k], V^T [..., k, n]."""
    if matrix.shape[-2] < matrix.shape[-1]:
        left, values, right = singular_triplets(matrix.mT)
        return right.mT, values, left.mT
    return torch.linalg.svd(matrix, full_matrices=False)


def singular_values(matrix: Tensor) -> Tensor:
    """The singular values of matrices [..., m, n]: [..., k], falling."""
    return torch.linalg.svdvals(matrix.mT if matrix.shape[-2] < matrix.shape[-1] else matrix)
