"""Subspace boosting: what another method merged, its small singular values raised to one that is not."""

from typing import Any

from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method, start_from
from mergebench.methods.spectral import Rounding, by_matrix, task_matrices, triplets


def boosted(change: Tensor, share: float, rounding: Rounding | None = None) -> Tensor:
    """A matrix whose singular values are no smaller than the one at which their running sum reaches a share of it.

    Args:
        change: [m, n].
        share: of the sum of singular values.
        rounding: of the matrix, as `task_matrices` has it of one matrix alone.

    Returns:
        [m, n]; directions that are rounding alone stay zero.
    """
    left, values, right = triplets(change, rounding=rounding)
    # A share that rounding just misses is reached.
    reached = values.cumsum(0) >= (share - 1e-12) * values.sum()
    floor = values[int(reached.double().argmax())]
    return left * values.clamp(min=floor) @ right


@merge_method(
    "subspace_boosting",
    title="Subspace Boosting",
    paper="arXiv:2506.16506",
    needs=Needs(base=True),
    year=2025,
    fidelity="paper",
    holds="1 model, 4 T + 8 tensors",
    cost="what its start costs; 1 SVD in float64 a matrix; no passes of its own",
    ranges={"share": (0.0, 1.0)},
    starts="start",
)
def subspace_boosting(
    pool: ModelPool,
    *,
    start: str = "task_arithmetic",
    start_settings: dict[str, Any] | None = None,
    share: ClosedUnitInterval = 0.01,
) -> StateDict:
    """Another method's result, the small singular values of its change raised.

        theta_start - theta_0 = U S V^T;   i = the first with sum_{j <= i} s_j >= beta sum_j s_j
        theta = theta_0 + U max(S, s_i) V^T

    Sums of task vectors have few large directions; the others, which hold what single tasks need, are raised to s_i.
    The weights of linear layers in the blocks are changed, query, key and value each by itself; all else is as the
    start has it. Directions in which the start changed nothing, but for rounding, stay as they are.
    Source: Skorobogat et al., "Subspace-boosted model merging", section 4; the value of beta is a re-implementation's.

    Args:
        start: the method whose change is boosted.
        start_settings: its hyper-parameters; the others have their defaults.
        share: beta; at 1 hardly anything is raised, at 0 all values become the largest.
    """
    begun, weights = start_from(pool, start, start_settings), set(pool.layout.linear_weights)

    def raised(states: Tensor) -> Tensor:
        (change,), rounding = task_matrices(states[0], states[1:])
        return boosted(change, share, rounding._replace(noise=rounding.noise[0]))

    def merged(name: str) -> Tensor:
        if name not in weights:
            return begun[name]
        base = pool.base[name]
        states = base.new_empty(2, *base.shape)
        states[0], states[1] = base, begun[name]
        return base + by_matrix(pool.layout, name, states, raised)

    return pool.map_names(merged)
