"""Model Breadcrumbs: task arithmetic without the largest changes, which disturb, and the small, which say little."""

from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import keep_middle


@merge_method(
    "breadcrumbs",
    title="Model Breadcrumbs",
    paper="arXiv:2312.06795",
    needs=Needs(base=True),
    year=2023,
    fidelity="paper",
    holds="14 tensors",
    cost="no passes",
    ranges={"scaling": (0.1, 1.0), "density": (0.05, 0.9), "outliers": (0.001, 0.05)},
)
def breadcrumbs(
    pool: ModelPool,
    *,
    scaling: float = 0.2,
    density: ClosedUnitInterval = 0.15,
    outliers: ClosedUnitInterval = 0.006,
    granularity: Literal["layer", "row"] = "layer",
) -> StateDict:
    """The sum of task vectors that have lost their largest and their smallest entries.

        m_t = 1 where |tau_t| is among the next `density` n after the largest `outliers` n of a layer's n; else 0
        theta = theta_0 + s sum_t m_t tau_t

    A layer is one parameter tensor. The settings are the first that the released code tries; the paper fits them to
    validation data. That code masks every row of a tensor (its last dimension) by itself.
    Source: Davari and Belilovsky, "Model Breadcrumbs: scaling multi-task model merging with sparse masks".

    Args:
        scaling: s.
        density: fraction of the entries to keep (beta in the released code).
        outliers: fraction of largest entries to drop (gamma there).
        granularity: what is masked by itself: a "layer" (paper) or a "row" (released code).
    """

    def merged(name: str) -> Tensor:
        total = torch.zeros_like(base := pool.base[name])
        for task in pool.tasks:  # one at a time: ranking holds several times what it ranks
            vector = pool.vector(task, name)
            ranked = vector.flatten() if granularity == "layer" else vector
            total += keep_middle(ranked, density, outliers).view(vector.shape)
        return base + scaling * total

    return pool.map_names(merged)
