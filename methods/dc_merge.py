"""DC-Merge: task matrices are combined entry by entry in one basis that all of them share."""

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import magnitude_threshold, trim
from mergebench.methods.spectral import Rounding, merge_matrices, polar_factor, triplets
from mergebench.methods.ties import combine_agreeing


def combined_in_shared_basis(vectors: Tensor, density: float, rounding: Rounding | None = None) -> Tensor:
    """The tasks' leading triplets, trimmed and combined as TIES does last, in the basis that is nearest to all theirs.

    Args:
        vectors: task matrices [T, m, n].
        density: the share of entries that each keeps in that basis.
        rounding: of the matrices, as `task_matrices` has it.

    Returns:
        [m, n].
    """
    tasks, *shape = vectors.shape
    rounding = rounding or Rounding.unknown(vectors)
    lefts, values, rights = triplets(vectors, max(1, min(shape) // tasks), rounding)
    turned, rank = rounding.of_vectors(values), values.shape[1]
    left = polar_factor(torch.cat([*lefts], dim=1), turned)  # [m, T k]
    right = polar_factor(torch.cat([*rights]).T, turned).T  # [T k, n]
    seen = (left.T @ lefts) * values[:, None] @ (rights @ right.T)  # [T, T k, T k]
    bars = torch.stack([magnitude_threshold(one.flatten(), density) for one in seen])
    merged = combine_agreeing(trim(seen, bars), 0, "mean")
    blocks: Tensor = torch.block_diag(*[merged.new_ones(rank, rank)] * tasks)  # type: ignore[no-untyped-call]
    return left @ (merged * blocks) @ right


@merge_method(
    "dc_merge",
    title="DC-Merge",
    paper="arXiv:2603.06242",
    needs=Needs(base=True),
    year=2026,
    fidelity="released code",
    holds="10 T + 36 tensors",
    cost="T + 2 SVDs in float64 a matrix, and T of a part of it; no passes",
    ranges={"scaling": (0.1, 3.0), "density": (1e-4, 0.1)},
)
def dc_merge(pool: ModelPool, *, scaling: NonNegativeFloat = 1.0, density: ClosedUnitInterval = 1e-3) -> StateDict:
    """Each task's leading part, seen in a basis near to all tasks' directions, trimmed, and combined where signs agree.

        tau_t = U_t S_t V_t^T, cut to its first r / T triplets (r: full rank; rounded down, but at least one);
        U = polar([U_1 ... U_T]),   V likewise;   M_t = U^T U_t S_t V_t^T V, cut to its largest entries
        M = the mean of the M_t whose sign is that of sum_t M_t, in the T blocks on the diagonal, else 0
        theta = theta_0 + s U M V^T

    polar(X) is the matrix with orthonormal columns nearest to X. Parameters that are no matrix: s times the mean task
    vector. Triplets that are rounding are left out, and of those that tie at the cut all are in.
    Source: arXiv:2603.06242 and its released code, which searches s on validation images.

    Args:
        scaling: s; published values are searched between 0 and 3, on each suite.
        density: the share of each M_t's entries that is kept.
    """
    return merge_matrices(pool, lambda vectors, rounding: combined_in_shared_basis(vectors, density, rounding), scaling)
