"""DARE: most of every task vector is dropped at random and the rest enlarged, before another method merges them."""

from typing import Any, Literal

from jsonargparse.typing import ClosedUnitInterval, restricted_number_type
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import drop_at_random
from mergebench.methods.ties import merge_by_signs

# At 1 nothing is left to enlarge. (Any to type checkers, as jsonargparse's own such types are.)
FractionBelowOne: Any = restricted_number_type(
    "FractionBelowOne", float, [(">=", 0), ("<", 1)], docstring="from 0 to below 1"
)


@merge_method(
    "dare",
    title="DARE",
    paper="arXiv:2311.03099",
    needs=Needs(base=True),
    year=2023,
    fidelity="paper",
    holds="5 tensors",
    cost="with TIES, one model and 2 T + 5 tensors; no passes",
    ranges={"rate": (0.1, 0.9), "scaling": (0.1, 1.0)},
)
def dare(
    pool: ModelPool,
    *,
    rate: FractionBelowOne = 0.5,
    then: Literal["average", "task_arithmetic", "ties"] = "task_arithmetic",
    scaling: float = 0.3,
    density: ClosedUnitInterval = 0.2,
) -> StateDict:
    """Drop entries of every task vector at random, enlarge the others, and merge what is left.

        tau'_t = m_t tau_t / (1 - p),   m_t ~ Bernoulli(1 - p) per entry;
        theta = theta_0 + mean_t tau'_t, or theta_0 + s sum_t tau'_t, or TIES on the tau'_t

    The draw depends on the seed, the task and the parameter alone.
    Source: Yu et al., "Language models are Super Mario", section 3, which gives no one rate; 0.5 and s = 0.3 are those
    of public runs on CLIP (0.5 for both with TIES).

    Args:
        rate: p.
        then: what merges the vectors.
        scaling: s, of task arithmetic and TIES.
        density: of TIES, the fraction of entries that it keeps.
    """

    def vector(task: str, name: str) -> Tensor:
        return drop_at_random(pool.vector(task, name), rate, pool.generator(task, name))

    if then == "ties":
        return merge_by_signs(pool, vector, scaling=scaling, density=density)
    weight = 1 / len(pool.tasks) if then == "average" else scaling
    return pool.map_names(lambda name: pool.base[name] + weight * sum(vector(task, name) for task in pool.tasks))
