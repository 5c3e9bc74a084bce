"""TIES: trim small changes, elect a sign per entry, combine the changes that agree."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method


def magnitude_threshold(vector: Tensor, density: float) -> Tensor:
    """The k-th largest magnitude of a vector [n], with k = floor(density n), at least 1; infinite if density is 0."""
    if density == 0:
        return torch.tensor(math.inf, dtype=vector.dtype)
    # Rounding first: 0.1 * 30 is 3.0000000000000004 in binary, and 0.29 * 100 is 28.999999999999996.
    kept = max(1, math.floor(round(density * vector.numel(), 6)))
    return vector.abs().kthvalue(vector.numel() - kept + 1).values


def trim(vectors: Tensor, thresholds: Tensor) -> Tensor:
    """Zero the entries of each task vector [T, *shape] whose magnitude is below its threshold [T]."""
    return torch.where(vectors.abs() >= thresholds.view(-1, *[1] * (vectors.ndim - 1)), vectors, 0)


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


def merge_by_signs(
    pool: ModelPool, vector: Callable[[str, str], Tensor], *, scaling: float, density: float, combine: str = "sum"
) -> StateDict:
    """TIES on any task vectors.

    Args:
        pool: needs `base`.
        vector: (task, parameter's name) -> [*shape]; asked three times for each, the same every time.
        scaling, density, combine: as `ties` has them.
    """
    names = pool.layout.floating
    thresholds = torch.stack(
        [magnitude_threshold(torch.cat([vector(t, n).flatten() for n in names]), density) for t in pool.tasks]
    )

    def trimmed(name: str) -> Tensor:
        return trim(torch.stack([vector(task, name) for task in pool.tasks]), thresholds)

    # The majority is over all parameters, so it takes a pass of its own before any entry can be decided.
    signs = sum(int(trimmed(name).sum(0).sign().sum()) for name in names)
    majority = float((signs > 0) - (signs < 0))
    return pool.map_names(lambda name: pool.base[name] + scaling * combine_agreeing(trimmed(name), majority, combine))


@merge_method(
    "ties",
    title="TIES-Merging",
    paper="arXiv:2306.01708",
    needs=Needs(base=True),
    ranges={"scaling": (0.1, 1.5), "density": (0.05, 0.5)},
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
        lambda task, name: pool.experts[task][name] - pool.base[name],
        scaling=scaling,
        density=density,
        combine=combine,
    )
