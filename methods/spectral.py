"""What methods that work on the spectra of task vectors share: matrix by matrix, a fused qkv as its three.

What may be rounding alone counts as zero, by one rule: `task_matrices` says how much that is of experts of low rank,
`triplets` and `directions` leave it out. Decompositions are in float64, so that threads do not show in a result.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mergebench import ModelPool, StateDict
from mergebench.merging.layout import Layout
from mergebench.methods.decomposition import all_above, singular_triplets, singular_values, uncertain
from mergebench.methods.stacks import with_experts

# Singular values nearer to each other than this share of the largest are one value, whose vectors are any basis.
TIE = 1e-10
# What experts may be stored in, the coarsest first.
FORMATS = (torch.bfloat16, torch.float16, torch.float32)


class Rounding(NamedTuple):
    """What of matrices [..., m, n] is no more than rounding.

    Args:
        eps: the relative spacing of what they were given in; they may be computed with in more.
        noise: how large a singular value was made by storing what they come from [...]; 0 where that is not told.
    """

    eps: float
    noise: Tensor

    @classmethod
    def unknown(cls, matrix: Tensor) -> "Rounding":
        """Where nothing is known but the dtype."""
        return cls(torch.finfo(matrix.dtype).eps, matrix.new_zeros(matrix.shape[:-2]))

    def of_sum(self, vectors: Tensor) -> "Rounding":
        """That of the sum of the task matrices [T, m, n] whose own it is; no noise is told if that of one is not."""
        untold = (vectors.flatten(1).any(1) & (self.noise == 0)).any()
        return self._replace(noise=torch.where(untold, 0, self.noise.sum()))

    def of_vectors(self, values: Tensor) -> "Rounding":
        """That of singular vectors side by side [... k], by their values [..., k]: how far noise turns each."""
        some = values > 0
        return self._replace(noise=torch.where(some, self.noise[..., None] / torch.where(some, values, 1), 0).flatten())


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
    count, shape = layout.fused.get(name, 1), layout.matrices(name, stack[0])[0].shape
    parts = stack.view(len(stack), count, *shape).unbind(1)
    return torch.cat([merge(part) for part in parts]).view(stack.shape[1:])


def merge_matrices(pool: ModelPool, merge: Callable[[Tensor, Rounding], Tensor], scaling: float) -> StateDict:
    """theta_0 + scaling * delta: every matrix's delta merged by itself, all other parameters' the mean task vector.

    A matrix is what has two dimensions larger than one; query, key and value count as three, however they are stored.

    Args:
        pool: needs `base`.
        merge: task matrices [T, m, n] and their rounding, as `task_matrices` has them -> merged [m, n].
        scaling: of all parameters alike.
    """

    def merged(name: str) -> Tensor:
        if not pool.layout.is_matrix(name):
            return pool.base[name] + scaling * pool.vectors(name).mean(0)
        states = with_experts(pool, name, pool.base[name])
        delta = by_matrix(pool.layout, name, states, lambda parts: merge(*task_matrices(parts[0], parts[1:])))
        return states[0] + scaling * delta

    return pool.map_names(merged)


def task_matrices(base: Tensor, experts: Tensor) -> tuple[Tensor, Rounding]:
    """Task matrices, and what in those of low rank is rounding.

    Storing an expert moves every entry by up to half the spacing of its format: noise beside what training changed.
    As a random matrix's, its norm is no more than that of its longest row and its longest column together. A matrix
    with at most half of its singular values above that is of low rank, and its others are noise. Any other matrix is
    taken as it stands, for in the tail of a full spectrum change and noise cannot be told apart.

    Args:
        base: [m, n].
        experts: [T, m, n]; float32 values that all are float16's count as float16.

    Returns:
        [T, m, n], float64, and their rounding, whose noise is 0 for a matrix that is not of low rank.
    """
    eps, base = torch.finfo(base.dtype).eps, base.double()
    vectors, noise = experts - base, base.new_zeros(len(experts))  # float64, as the base is now
    for index, (expert, vector) in enumerate(zip(experts, vectors, strict=True)):
        sizes = base.abs() + vector.abs()
        longest = torch.linalg.vector_norm(sizes, dim=0).max() + torch.linalg.vector_norm(sizes, dim=1).max()
        bound = unit_roundoff(expert) * longest
        half = min(vector.shape) // 2 + 1
        # No singular value of a part is larger than that of the whole: mostly a part shows a full rank, for much less.
        if not all_above(vector[:half, : 2 * half], bound) and singular_values(vector)[half - 1] <= bound:
            noise[index] = bound
    return vectors, Rounding(eps, noise)


def unit_roundoff(tensor: Tensor) -> float:
    """Half the relative spacing of the coarsest format that holds all values of a tensor exactly."""
    held = (dtype for dtype in FORMATS if torch.equal(tensor.to(dtype).to(tensor.dtype), tensor))
    return torch.finfo(next(held, tensor.dtype)).eps / 2


def triplets(
    matrix: Tensor, count: int | None = None, rounding: Rounding | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The first singular triplets (U, S, V^T), those whose singular value may be rounding alone being all zero.

    A decomposition makes up directions where the matrix has none, and other ones on another machine; methods that
    flatten spectra or orthogonalise directions would give them weight. Values that tie with the last one asked for are
    let in with it, for of tied triplets a decomposition may give any first.

    Args:
        matrix: [..., m, n].
        count: how many; all, if None.
        rounding: of the matrix.

    Returns:
        [..., m, k], [..., k] and [..., k, n]; k = `count`, or more where values tie.
    """
    eps, noise = rounding or Rounding.unknown(matrix)
    noise, rank = noise[..., None], min(matrix.shape[-2:])
    asked = rank if count is None else count

    def tied(values: Tensor) -> Tensor:
        last = values[..., asked - 1 : asked] if asked else torch.full_like(values[..., :1], torch.inf)
        return values >= last - torch.maximum(TIE * values[..., :1], noise)

    def needed(values: Tensor) -> int:
        return max(asked, int(tied(values).sum(-1).max()))

    some = asked < rank
    left, values, right = singular_triplets(matrix, needed if some and asked <= rank // 2 else None)
    real = values > torch.maximum(uncertain(matrix, eps) * values[..., :1], noise)
    if some:
        real &= tied(values)
        asked = max(asked, int(real.sum(-1).max()))
    there = left.shape[-1]
    left, right = left * real[..., None, :there], right * real[..., :there, None]
    return left[..., :asked], (values * real)[..., :asked], right[..., :asked, :]


def ties(values: Tensor, noise: Tensor) -> Tensor:
    """Falling singular values [r] by number [r]: those that tie, to rounding or to noise, have the same, from 0."""
    apart = -values.diff() > torch.maximum(TIE * values[0], noise)
    return torch.cat([apart.new_zeros(1), apart]).cumsum(0)


def directions(columns: Tensor, rounding: Rounding | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The triplets of unit columns side by side, without those in which the columns differ by no more than rounding.

    Args:
        columns: [m, k].
        rounding: of the columns, as `Rounding.of_vectors` has it.

    Returns:
        U [m, r], S [r], V^T [r, k], and by how much each of S is off [r].
    """
    left, values, right = singular_triplets(columns)
    eps, turned = rounding or (torch.finfo(columns.dtype).eps, columns.new_zeros(columns.shape[1]))
    # To first order a value moves by p^T dX q, of which each column gives its own turn times its share in q.
    off = torch.maximum(uncertain(columns, eps) * values[:1], (right.square() @ turned.square()).sqrt())
    real = values > off
    return left[:, real], values[real], right[real], off[real]


def polar_factor(matrix: Tensor, rounding: Rounding | None = None) -> Tensor:
    """The matrix with orthonormal columns (or rows, if it is wide) nearest to this one: P Q^T of its SVD P S Q^T.

    Where the matrix has not the full rank it is the partial isometry: directions outside its range stay outside.
    Arguments as `directions` has them.
    """
    left, _, right, _ = directions(matrix, rounding)
    return left @ right
