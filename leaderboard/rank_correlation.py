"""Kendall's tau between two orders of the same things, and how far it is known."""

import math
from collections.abc import Sequence

import numpy as np


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Kendall's tau-b between two orders of the same things; NaN where one of them orders nothing.

    tau_b = sum_ij s_ij t_ij / sqrt(sum_ij s_ij^2 sum_ij t_ij^2),   s_ij, t_ij the signs of differences
    """
    # Here rather than from scipy.stats, whose import takes longer than all of a board; a test holds it to that.
    x, y = (_signs(values) for values in (ours, theirs))
    scale = math.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale else math.nan


def rank_correlation_interval(
    ours: Sequence[float], theirs: Sequence[float], level: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of Kendall's tau-b (`rank_correlation`) over draws of the things that are ordered.

    It speaks of methods like these, where a board's intervals speak of its images. A draw that orders nothing, as it
    holds one thing alone, is left out; NaN, as tau itself, where all are equal.

    Args:
        ours, theirs: two orders of the same things.
        level: confidence.
        draws: how many; they are always the same ones.
    """
    x, y = (_signs(values) for values in (ours, theirs))
    drawn = np.random.default_rng(0).integers(len(ours), size=(draws, len(ours)))
    times = (drawn[:, :, None] == np.arange(len(ours))).sum(axis=1).astype(float)  # how often each is drawn [draws, n]
    both, of_x, of_y = (((times @ products) * times).sum(axis=1) for products in (x * y, x * x, y * y))
    scale = np.sqrt(of_x * of_y)
    ordered = scale > 0
    if not ordered.any():
        return math.nan, math.nan
    low, high = np.quantile(both[ordered] / scale[ordered], [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def _signs(values: Sequence[float]) -> np.ndarray:
    """The sign of every difference [n, n]."""
    return np.sign(np.subtract.outer(values, values))
