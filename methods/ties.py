"""TIES: trim small changes, elect a sign per entry, combine the changes that agree."""

import math
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


@merge_method("ties", title="TIES-Merging", paper="arXiv:2306.01708", needs=Needs(base=True))
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
    names = [n for n, d in pool.layout.dtypes.items() if d.is_floating_point]
    thresholds = torch.stack(
        [
            magnitude_threshold(torch.cat([(expert[n] - pool.base[n]).flatten() for n in names]), density)
            for expert in pool.experts.values()
        ]
    )

    def trimmed(base: Tensor, experts: Tensor) -> Tensor:
        return trim(experts - base, thresholds)

    # The majority is over all parameters, so it takes a pass of its own before any entry can be decided.
    signs = 0
    for name in names:
        experts = torch.stack([e[name] for e in pool.experts.values()])
        signs += int(trimmed(pool.base[name], experts).sum(0).sign().sum())
    majority = float((signs > 0) - (signs < 0))
    return pool.map_tensors(
        lambda base, experts: base + scaling * combine_agreeing(trimmed(base, experts), majority, combine)
    )
