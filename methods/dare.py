"""DARE: most of every task vector is dropped at random and the rest enlarged, before another method merges them."""

from typing import Literal

import torch
from jsonargparse.typing import restricted_number_type
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.ties import merge_by_signs

# At 1 nothing is left to enlarge.
FractionBelowOne = restricted_number_type(
    "FractionBelowOne", float, [(">=", 0), ("<", 1)], docstring="from 0 to below 1"
)


def dropped(vector: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Entries of a task vector set to zero with probability `rate`, the others divided by 1 - rate."""
    kept = torch.rand(vector.shape, generator=generator, dtype=torch.float64) >= rate
    return torch.where(kept.to(vector.device), vector / (1 - rate), 0)


@merge_method("dare", title="DARE", paper="arXiv:2311.03099", needs=Needs(base=True))
def dare(
    pool: ModelPool,
    *,
    rate: FractionBelowOne = 0.5,
    then: Literal["average", "task_arithmetic", "ties"] = "task_arithmetic",
    scaling: float = 0.3,
    density: float = 0.2,
) -> StateDict:
    """Drop entries of every task vector at random, enlarge the others, and merge what is left.

        tau'_t = m_t tau_t / (1 - p),   m_t ~ Bernoulli(1 - p) per entry;
        theta = theta_0 + mean_t tau'_t, or theta_0 + s sum_t tau'_t, or TIES on the tau'_t

    The draw depends on the seed, the task and the parameter alone.
    Source: Yu et al., "Language models are Super Mario", section 3.

    Args:
        rate: p.
        then: what merges the vectors.
        scaling: s, of task arithmetic and TIES.
        density: of TIES, the fraction of entries that it keeps.
    """

    def vector(task: str, name: str) -> Tensor:
        change = pool.experts[task][name] - pool.base[name]
        return dropped(change, rate, pool.generator(task, name))

    if then == "ties":
        return merge_by_signs(pool, vector, scaling=scaling, density=density)
    weight = 1 / len(pool.tasks) if then == "average" else scaling
    return pool.map_names(lambda name: pool.base[name] + weight * sum(vector(task, name) for task in pool.tasks))
