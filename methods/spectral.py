"""What methods that work on the spectra of task vectors share: matrix by matrix, a fused qkv as its three."""

from collections.abc import Callable

import torch
from torch import Tensor

from mergebench import ModelPool, StateDict
from mergebench.merging.layout import Layout


def by_matrix(layout: Layout, name: str, stack: Tensor, merge: Callable[[Tensor], Tensor]) -> Tensor:
    """A stack of one parameter's values merged matrix by matrix.

    Args:
        layout: of the encoder.
        name: the parameter, of which `layout.is_matrix(name)` holds.
        stack: [K, *shape].
        merge: [K, m, n] -> [m, n]; query, key and value come one by one, however they are stored.

    Returns:
        [*shape].
    """
    parts = zip(*(layout.matrices(name, value) for value in stack), strict=True)
    return torch.cat([merge(torch.stack(part)) for part in parts]).view(stack.shape[1:])


def merge_matrices(pool: ModelPool, merge: Callable[[Tensor], Tensor], scaling: float) -> StateDict:
    """theta_0 + scaling * delta: every matrix's delta merged by itself, all other parameters' the mean task vector.

    A matrix is what has two dimensions larger than one; query, key and value count as three, however they are stored.

    Args:
        pool: needs `base`.
        merge: task matrices [T, m, n] -> merged [m, n].
        scaling: of all parameters alike.
    """

    def merged(name: str) -> Tensor:
        vectors = pool.vectors(name)
        matrix = pool.layout.is_matrix(name)
        delta = by_matrix(pool.layout, name, vectors, merge) if matrix else vectors.mean(0)
        return pool.base[name] + scaling * delta

    return pool.map_names(merged)


def triplets(matrix: Tensor, count: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The first singular triplets (U, S, V^T), those whose singular value is zero to rounding being all zero.

    A decomposition makes up directions where the matrix has none, and other ones on another machine; methods that
    flatten spectra or orthogonalise directions would give them weight.

    Args:
        matrix: [..., m, n].
        count: how many; all, if None.

    Returns:
        [..., m, count], [..., count] and [..., count, n].
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rounding = 10 * torch.finfo(matrix.dtype).eps * max(matrix.shape[-2:]) ** 0.5
    real = values > rounding * values[..., :1]
    left, values, right = left * real[..., None, :], values * real, right * real[..., None]
    return left[..., :count], values[..., :count], right[..., :count, :]


def polar_factor(matrix: Tensor) -> Tensor:
    """The matrix with orthonormal columns (or rows, if it is wide) nearest to this one: P Q^T of its SVD P S Q^T.

    Where the matrix has not the full rank it is the partial isometry: directions outside its range stay outside.
    """
    left, _, right = triplets(matrix)
    return left @ right
