"""TIES: trim small changes, elect a sign per entry, combine the changes that agree."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import in_cuts, magnitude_thresholds, trim


def combine_agreeing(trimmed: Tensor, majority: float, combine: str) -> Tensor:
    """Sum or mean of the trimmed entries [T, *shape] whose sign is the elected one.

    Args:
        trimmed: trimmed task vectors.
        majority: the sign that entries without a sign of their own (their sum is zero) take: -1, 0 or 1.
        combine: "sum", or "mean" over the entries that agree.

    Returns:
        [*shape].
    """
    sign = trimmed.sum(0).sign()
    sign = torch.where(sign == 0, majority, sign)
    agreeing = torch.where((trimmed * sign) > 0, trimmed, 0)
    total = agreeing.sum(0)
    return total if combine == "sum" else total / (agreeing != 0).sum(0).clamp(min=1)


Vectors = Callable[[str, str], Tensor]  # (task, parameter's name) -> task vector [*shape]; the same every time


def trimmed_and_majority(
    vector: Vectors, tasks: Sequence[str], names: Sequence[str], density: float
) -> tuple[Callable[[str], Tensor], float]:
    """What TIES has made of task vectors before it decides any entry.

    Args:
        vector: asked three times for each task and parameter.
        tasks, names: of all task vectors.
        density: as `ties` has it.

    Returns:
        parameter's name -> trimmed vectors [T, *shape]; and the majority of their signs over all parameters.
    """
    thresholds = magnitude_thresholds(vector, tasks, names, density)

    def trimmed(name: str) -> Tensor:
        rows = (trim(vector(task, name)[None], bar) for task, bar in zip(tasks, thresholds, strict=True))
        return torch.cat([*rows])

    # The majority is over all parameters, so it takes a pass of its own before any entry can be decided.
    majorities = (trimmed(name).sum(0).sign().sum(dtype=torch.float64) for name in names)
    signs = sum(majorities, start=torch.zeros((), dtype=torch.float64))
    return trimmed, signs.sign().item()


def merged_vector(pool: ModelPool, vector: Vectors, *, density: float, combine: str = "sum") -> Callable[[str], Tensor]:
    """What TIES makes of any task vectors: parameter's name -> [*shape]; arguments as `ties` has them."""
    trimmed, majority = trimmed_and_majority(vector, pool.tasks, pool.layout.floating, density)

    def merged(name: str) -> Tensor:
        vectors = trimmed(name)
        combined = in_cuts(lambda cut: combine_agreeing(cut, majority, combine), vectors.view(len(vectors), -1))
        return combined.view(vectors.shape[1:])

    return merged


def merge_by_signs(
    pool: ModelPool, vector: Vectors, *, scaling: float, density: float, combine: str = "sum"
) -> StateDict:
    """TIES on any task vectors: theta_0 + scaling * `merged_vector`; needs `base`."""
    merged = merged_vector(pool, vector, density=density, combine=combine)
    return pool.map_names(lambda name: pool.base[name] + scaling * merged(name))


@merge_method(
    "ties",
    title="TIES-Merging",
    paper="arXiv:2306.01708",
    needs=Needs(base=True),
    year=2023,
    fidelity="released code",
    holds="1 model, 2 T + 2 tensors",
    cost="no passes",
    ranges={"scaling": (0.1, 1.0), "density": (0.05, 0.5)},
)
def ties(
    pool: ModelPool,
    *,
    scaling: float = 0.3,
    density: ClosedUnitInterval = 0.2,
    combine: Literal["sum", "mean"] = "sum",
) -> StateDict:
    """Trim each task vector to its largest entries, elect a sign per entry, and combine what agrees.

        tau'_t = tau_t where |tau_t| >= its k-th largest magnitude, k = density n, over all parameters together; else 0
        gamma  = sign(sum_t tau'_t);   theta = theta_0 + s * (sum or mean of the tau'_t whose sign is gamma)

    Source: Yadav et al., "TIES-Merging", algorithm 1 (mean, s = 1); the published CLIP figures use the sum and s = 0.3.

    Args:
        scaling: s.
        density: fraction of the entries of a task vector to keep.
        combine: sum or mean of the entries that agree.
    """
    return merge_by_signs(
        pool,
        pool.vector,
        scaling=scaling,
        density=density,
        combine=combine,
    )
