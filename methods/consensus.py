"""Consensus merging: of the merged task vector, only what several tasks make use of is kept."""

from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import in_cuts
from mergebench.methods.ties import merged_vector


def tall_masks(vectors: Tensor, merged: Tensor, selectivity: float) -> Tensor:
    """Where each task vector is near enough to the merged one, measured by its own size, to be told from it.

    Args:
        vectors: [T, *shape].
        merged: [*shape].
        selectivity: lambda; the larger, the fewer entries.

    Returns:
        [T, *shape], true where |tau_t| >= lambda |merged - tau_t|.
    """
    return vectors.abs() >= selectivity * (merged - vectors).abs()


@merge_method(
    "consensus_ta",
    title="Consensus TA",
    paper="arXiv:2405.07813",
    needs=Needs(base=True),
    year=2024,
    fidelity="paper",
    holds="T + 4 tensors",
    cost="with TIES, one model and 3 T tensors; no passes",
    ranges={"scaling": (0.1, 1.0), "selectivity": (0.2, 0.6)},
)
def consensus_ta(
    pool: ModelPool,
    *,
    scaling: float = 0.3,
    selectivity: NonNegativeFloat = 0.4,
    agreeing: PositiveInt = 2,
    merged_by: Literal["sum", "ties"] = "sum",
    density: ClosedUnitInterval = 0.2,
) -> StateDict:
    """Task arithmetic without the entries that no task needs, or one task alone.

        tau = sum_t tau_t;   m_t = 1 where |tau_t| >= lambda |tau - tau_t|, else 0 (TALL masks)
        theta = theta_0 + s [sum_t m_t >= k] tau

    With fewer than k tasks, all of them have to agree. The paper fits s, and for every task a lambda out of 0.2 to 0.6,
    to validation data; without any, the middle of these and task arithmetic's s stand here.
    Source: Wang et al., "Localizing task information for improved model merging and compression".

    Args:
        scaling: s.
        selectivity: lambda, for all tasks.
        agreeing: k.
        merged_by: how tau is made; "ties" (kept entries summed) gives Consensus TIES.
        density: of TIES, the fraction of entries that it keeps.
    """
    needed = min(agreeing, len(pool.tasks))
    if merged_by == "ties":
        signed = merged_vector(pool, pool.vector, density=density)

    def merged(name: str) -> Tensor:
        vectors = pool.vectors(name)
        total = vectors.sum(0) if merged_by == "sum" else signed(name)

        def kept(cut: Tensor, total: Tensor) -> Tensor:
            return torch.where(tall_masks(cut, total, selectivity).sum(0) >= needed, total, 0)

        change = in_cuts(kept, vectors.view(len(vectors), -1), total.flatten())
        return pool.base[name] + scaling * change.view(total.shape)

    return pool.map_names(merged)
