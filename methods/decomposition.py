"""Singular value decompositions, of matrices the way round in which LAPACK is quick: no wider than long."""

from collections.abc import Callable

import torch
from torch import Tensor

# Eigenvectors of M^T M are singular vectors of M, for half the time, but what is small beside the largest is lost in
# squares: down to this share of it a value is known to 1e-14 of the largest, and its direction to 1e-12.
SQUARED = 1e-2
# How much longer than wide a matrix is whose singular values are mostly not small.
TALL = 2


def singular_triplets(matrix: Tensor, needed: Callable[[Tensor], int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of matrices [..., m, n]: U [..., m, k], S [..., k], V^T [..., k, n].

    Args:
        matrix: in float64.
        needed: how many of the triplets are, told from all singular values [..., k], falling; all, if None. There may
            be fewer columns in U and rows in V^T then than values in S.
    """
    if matrix.shape[-2] < matrix.shape[-1]:
        left, values, right = singular_triplets(matrix.mT, needed)
        return right.mT, values, left.mT
    found = _from_gram(matrix, needed)
    if found is not None:
        return found
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left, values, right


def singular_values(matrix: Tensor) -> Tensor:
    """The singular values of matrices [..., m, n]: [..., k], falling."""
    values: Tensor = torch.linalg.svdvals(matrix.mT if matrix.shape[-2] < matrix.shape[-1] else matrix)
    return values


def all_above(matrix: Tensor, bound: Tensor) -> bool:
    """Whether all singular values of a wide matrix [m, n] are larger than a bound; False where rounding hides it.

    They are where M M^T - bound^2 I has a Cholesky factor: no singular value need be computed.
    """
    gram = matrix @ matrix.T
    gram.diagonal().sub_(bound.square() + uncertain(matrix, torch.finfo(matrix.dtype).eps) * gram.diagonal().sum())
    return not torch.linalg.cholesky_ex(gram).info.item()


def uncertain(matrix: Tensor, eps: float) -> float:
    """Up to what share of its largest singular value one of a matrix [..., m, n] counts as zero."""
    share: float = 10 * eps * max(matrix.shape[-2:]) ** 0.5
    return share


def _from_gram(matrix: Tensor, needed: Callable[[Tensor], int] | None) -> tuple[Tensor, Tensor, Tensor] | None:
    """What `singular_triplets` gives, by the eigenvectors of M^T M; None where they do not tell it, or hardly would.

    M^T M = V S^2 V^T,   U = M V S^-1
    """
    length, width = matrix.shape[-2:]
    if needed is None and length < TALL * width:
        return None
    squares, vectors = torch.linalg.eigh(matrix.mT @ matrix)
    values = squares.flip(-1).clamp(min=0).sqrt()
    count = width if needed is None else needed(values)
    if not count or bool((values[..., count - 1] <= SQUARED * values[..., 0]).any()):
        return None
    right = vectors.flip(-1)[..., :count]
    return matrix @ right / values[..., None, :count], values, right.mT
