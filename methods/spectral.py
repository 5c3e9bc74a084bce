"""What methods that work on the spectra of task vectors share: matrix by matrix, a fused qkv as its three."""

from collections.abc import Callable

import torch
from torch import Tensor

from mergebench import ModelPool, StateDict


def merge_matrices(pool: ModelPool, merge: Callable[[Tensor], Tensor], scaling: float) -> StateDict:
    """theta_0 + scaling * delta: every matrix's delta merged by itself, all other parameters' the mean task vector.

    A matrix is what has two dimensions larger than one; query, key and value count as three, however they are stored.

    Args:
        pool: needs `base`.
        merge: task matrices [T, m, n] -> merged [m, n].
        scaling: of all parameters alike.
    """

    def merged(name: str) -> Tensor:
        base, vectors = pool.base[name], pool.vectors(name)
        if not pool.layout.is_matrix(name):
            return base + scaling * vectors.mean(0)
        parts = zip(*(pool.layout.matrices(name, vector) for vector in vectors), strict=True)
        return base + scaling * torch.cat([merge(torch.stack(part)) for part in parts]).view(base.shape)

    return pool.map_names(merged)


def polar_factor(matrix: Tensor) -> Tensor:
    """The matrix with orthonormal columns (or rows, if it is wide) nearest to this one: P Q^T of its SVD P S Q^T."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right
