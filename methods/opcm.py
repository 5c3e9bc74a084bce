"""OPCM: tasks are merged one after the other, each without what it shares with the directions merged before."""

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.spectral import TIE, Rounding, by_matrix, task_matrices, ties, triplets
from mergebench.methods.stacks import with_experts


def without_merged_directions(vector: Tensor, merged: Tensor, share: float, rounding: Rounding | None = None) -> Tensor:
    """A task matrix without its part along the merged matrix's own directions.

    Args:
        vector: [m, n].
        merged: [m, n] = U S V^T.
        share: the leading directions are as many as have no more than this share of the sum of S.
        rounding: of the merged matrix.

    Returns:
        [m, n]: U^T vector V has a zero diagonal, and zeros among the leading directions.
    """
    rounding = rounding or Rounding.unknown(merged)
    left, values, right = triplets(merged, rounding=rounding)
    # Equal values have any basis of theirs: they are closed as one block, and lead together or not at all.
    group = ties(values, rounding.noise)
    reached = values.cumsum(0)
    leading = int((reached <= share * reached[-1] * (1 + TIE)).sum())
    if leading < len(values):
        leading = int((group < group[leading]).sum())
    along = left.T @ vector @ right.T
    taken = torch.where(group[:, None] == group, along, 0)
    taken[:leading, :leading] = along[:leading, :leading]
    return vector - left @ taken @ right


def accumulated(vectors: Tensor, share: float, rounding: Rounding | None = None) -> Tensor:
    """The sum of matrices in their order, each without the directions of the sum before it.

    Args:
        vectors: [K, m, n].
        share: as `without_merged_directions` has it.
        rounding: of the matrices, as `task_matrices` has it.

    Returns:
        [m, n].
    """
    eps, noise = rounding or Rounding.unknown(vectors)
    total = vectors[0]
    for number, vector in enumerate(vectors[1:], start=1):
        before = Rounding(eps, noise[:number]).of_sum(vectors[:number])
        total = total + without_merged_directions(vector, total, share, before)
    return total


@merge_method(
    "opcm",
    title="OPCM",
    paper="arXiv:2501.09522",
    needs=Needs(base=True),
    year=2025,
    fidelity="released code",
    holds="1 model, 3 T + 8 tensors",
    cost="T - 1 SVDs in float64 a matrix, and T of a part of it; no passes",
    ranges={"alpha": (0.0, 1.0)},
)
def opcm(pool: ModelPool, *, alpha: ClosedUnitInterval = 0.5) -> StateDict:
    """Task vectors added one by one, in the order of the tasks' names, each projected off those before it.

        A_1 = tau_1;   A_t = A_(t-1) + P_t(tau_t);   theta = theta_0 + A_t / lambda_t
        P_t(X) = U M V^T, with A_(t-1) = U S V^T and M = U^T X V but M_ii = 0, and M_ij = 0 for i, j <= k
        lambda_t = ||A_t|| / (1/t sum_i ||tau_i||), norms over all parameters

    Only the weights of linear layers are projected: elsewhere P_t(X) = X. k is the number of singular values whose
    cumulative sum is no more than alpha of the whole. Only A_t = lambda_t (theta - theta_0) and the mean norm need to
    be remembered: in a sequence of arriving tasks a step goes on where the step before stopped.
    Source: Tang et al., "Merging models on the fly without retraining", section 4, with its released code's reading of
    k and of the norms; there the order of the tasks is random. Directions with equal singular values are one: what the
    diagonal is for others is their whole block.

    Args:
        alpha: the share of the spectrum whose directions are closed to later tasks; at 0 only the diagonal is.
    """
    earlier = pool.earlier
    carried = [] if earlier is None else [pool.tasks.index(earlier.name)]
    order = [*carried, *(i for i in range(len(pool.tasks)) if i not in carried)]
    scaling, length = 1.0, 0.0
    if earlier is not None:
        scaling, length = earlier.report["scaling"], earlier.report["mean_norm"] * earlier.tasks
    weights = set(pool.layout.linear_weights)
    squares, sums = torch.zeros(len(order), dtype=torch.float64, device=pool.device), {}

    def projected(parts: Tensor) -> Tensor:
        vectors, rounding = task_matrices(parts[0], parts[1:])
        for of_each in (vectors, rounding.noise):
            of_each[: len(carried)] *= scaling
        return accumulated(vectors, alpha, rounding).to(parts)

    # What lies outside the region will be the average, and must not enter the norms.
    for name in filter(pool.inside, pool.layout.floating):
        base = pool.base[name]
        states = with_experts(pool, name, base, tasks=[pool.tasks[place] for place in order])
        vectors = states[1:] - base
        vectors[: len(carried)] *= scaling
        squares += torch.linalg.vector_norm(vectors.flatten(1), dim=1, dtype=torch.float64).square()
        if name not in weights:
            sums[name] = vectors.sum(0)
            continue
        del vectors
        sums[name] = by_matrix(pool.layout, name, states, projected)
    length += squares[len(carried) :].sqrt().sum().item()
    mean_norm = length / (len(order) if earlier is None else len(order) - 1 + earlier.tasks)
    norm = sum(torch.linalg.vector_norm(total, dtype=torch.float64).square() for total in sums.values()).sqrt().item()
    scaling = norm / mean_norm if norm > 0 else 1.0
    pool.report(scaling=scaling, mean_norm=mean_norm)
    return pool.map_names(
        lambda name: pool.base[name] + (sums[name] / scaling if name in sums else pool.vectors(name).mean(0))
    )
