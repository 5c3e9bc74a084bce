"""DELLA: entries of task vectors are dropped at random, small ones more often, before signs are elected."""

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Generator, Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.errors import HyperparameterError
from mergebench.methods.ties import combine_agreeing


def keep_probabilities(vector: Tensor, density: float, epsilon: float) -> Tensor:
    """With what probability each entry is kept, by the rank of its magnitude in its row: [m, n] -> [m, n].

    Args:
        vector: [m, n].
        density: the mean of a row's probabilities.
        epsilon: the smallest magnitude has this much less, the largest as much more.
    """
    ranks = vector.abs().argsort(dim=1, stable=True).argsort(1).to(vector.dtype)
    last = max(vector.shape[1] - 1, 1)
    return density + epsilon * (2 * ranks / last - 1) * (vector.shape[1] > 1)


def drop_by_magnitude(vector: Tensor, density: float, epsilon: float, generator: Generator) -> Tensor:
    """A task vector [*shape] with entries dropped at random, and the others enlarged to its sum of magnitudes."""
    rows = vector.reshape(len(vector), -1) if vector.ndim > 1 else vector.reshape(1, -1)
    drawn = torch.rand(rows.shape, generator=generator).to(rows)
    kept = torch.where(drawn < keep_probabilities(rows, density, epsilon), rows, 0)
    left = kept.abs().sum()
    return (kept * torch.where(left > 0, rows.abs().sum() / left.where(left > 0, 1), 1)).view(vector.shape)


@merge_method(
    "della",
    title="DELLA",
    paper="arXiv:2406.11617",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="6 T + 2 tensors",
    cost="no passes",
    ranges={"scaling": (0.1, 3.0), "density": (0.2, 0.8), "epsilon": (0.0, 0.15)},
)
def della(
    pool: ModelPool,
    *,
    scaling: NonNegativeFloat = 1.0,
    density: ClosedUnitInterval = 0.5,
    epsilon: ClosedUnitInterval = 0.15,
) -> StateDict:
    """Entries of every task vector dropped at random by their rank, and the rest combined where signs agree.

        p_i = d + e (2 rank_i / (n - 1) - 1),   rank_i of |tau_t,i| in its row of n, from 0
        tau'_t = m_t tau_t |tau_t|_1 / |m_t tau_t|_1,   m_t,i ~ Bernoulli(p_i)
        theta = theta_0 + s times the mean of the tau'_t whose sign is that of sum_t tau'_t

    The draw depends on the seed, the task and the parameter alone; a tensor of one dimension is one row, a kernel has
    a row an output.
    Source: Deep et al., "DELLA-Merging: reducing interference in model merging through magnitude-based sampling", as
    mergekit computes it, whose enlarging and mean these are (the paper divides by p_i); s is its `lambda`. Without a
    density mergekit drops nothing.

    Args:
        scaling: s.
        density: d, the mean share of entries that is kept; 1 drops nothing.
        epsilon: e; d - e and d + e must lie between 0 and 1, where d is below 1.

    Raises:
        HyperparameterError: they do not.
    """
    if density < 1 and not 0 <= density - epsilon <= density + epsilon <= 1:
        raise HyperparameterError(
            f"della: density={density:g} and epsilon={epsilon:g} make probabilities from {density - epsilon:g} to "
            f"{density + epsilon:g}; take epsilon={min(density, 1 - density):g} or less"
        )

    def thinned(task: str, name: str) -> Tensor:
        vector = pool.vector(task, name)
        return vector if density == 1 else drop_by_magnitude(vector, density, epsilon, pool.generator(task, name))

    def merged(name: str) -> Tensor:
        vectors = torch.stack([thinned(task, name) for task in pool.tasks])
        change: Tensor = scaling * combine_agreeing(vectors, 1, "mean")
        return pool.base[name] + change

    return pool.map_names(merged)
