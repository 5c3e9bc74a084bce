"""Intervals on accuracies that come as counts, and on what seeds change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from types import ModuleType

import numpy as np

ROUNDING = 1e-12  # means of counts that are equal differ by no more


def wilson_interval(correct: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Args:
        correct, total: counts (a mean over seeds may be fractional).
        level: confidence.

    Returns:
        Lower and upper end, as fractions.
    """
    # Here rather than from scipy.stats, whose import takes longer than all of a board; a test holds it to that.
    p, z = correct / total, NormalDist().inv_cdf(0.5 + level / 2)
    middle, half = p + z**2 / (2 * total), z * math.sqrt(p * (1 - p) / total + (z / total) ** 2 / 4)
    low, high = ((middle + side) / (1 + z**2 / total) for side in (-half, half))
    return max(low, 0.0), min(high, 1.0)


def average_interval(correct: Sequence[float], total: Sequence[int], level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean over tasks of independent proportions, each task weighing the same.

    The tasks' Wilson intervals are combined by the method of variance estimates recovery:

        L = p - sqrt(sum_t (p_t - l_t)^2) / T,   U = p + sqrt(sum_t (u_t - p_t)^2) / T

    It speaks of the test images alone: the tasks are taken as given, and so are the experts and the calibration draw.
    Source: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).

    Args:
        correct, total: counts of each task.
        level: confidence.
    """
    proportions = np.array(correct) / np.array(total)
    ends = np.array([wilson_interval(c, n, level) for c, n in zip(correct, total, strict=True)])
    below = math.sqrt(((proportions - ends[:, 0]) ** 2).sum()) / len(proportions)
    above = math.sqrt(((ends[:, 1] - proportions) ** 2).sum()) / len(proportions)
    return float(proportions.mean() - below), float(proportions.mean() + above)


def seed_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of a few seeds' values; it speaks of what the seed draws, not of test images.

    Args:
        values: one per seed, at least two.
        level: confidence.
    """
    mean, half = float(np.mean(values)), _half_width(values, level)
    return mean - half, mean + half


@dataclass(frozen=True)
class Difference:
    """A difference paired by seed: both sides saw the same draw.

    Args:
        mean: of the differences.
        interval: 95 % t interval.
        p: two-sided p value of the paired t test; 1 where all differences are zero.
        pairs: how many seeds both sides have.
    """

    mean: float
    interval: tuple[float, float]
    p: float
    pairs: int


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Ours minus theirs over the seeds that both have; None with fewer than two.

    Args:
        ours, theirs: seed -> value.
    """
    differences = [ours[s] - theirs[s] for s in ours if s in theirs]
    if len(differences) < 2:
        return None
    mean = float(np.mean(differences))
    if np.ptp(differences) <= ROUNDING:  # the t statistic would be 0/0 or infinite
        return Difference(mean, (mean, mean), 1.0 if abs(mean) <= ROUNDING else 0.0, len(differences))
    p = float(_scipy_stats().ttest_1samp(differences, 0.0).pvalue)
    half = _half_width(differences, 0.95)
    return Difference(mean, (mean - half, mean + half), p, len(differences))


def _half_width(values: Sequence[float], level: float) -> float:
    return float(
        _scipy_stats().t.ppf(0.5 + level / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: adjusted p values [m], so that one below 5 % is so among all m with 95 % confidence.

    The i-th smallest of m is multiplied by m - i + 1, and none is below a smaller one's.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    Args:
        p: p values [m].
    """
    # Here rather than from statsmodels, whose import takes longer than all of a board; a test holds it to that.
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test: of images that one of two alone classifies correctly, is that each as often?

    Args:
        ours, theirs: whether each image is classified correctly [N].

    Returns:
        How many images are right for us alone, how many for them alone, and the two-sided p value.
    """
    alone, others = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if not alone + others:
        return 0, 0, 1.0
    return alone, others, float(_scipy_stats().binomtest(alone, alone + others).pvalue)


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Kendall's tau-b between two orders of the same things; NaN where one of them orders nothing.

    tau_b = sum_ij s_ij t_ij / sqrt(sum_ij s_ij^2 sum_ij t_ij^2),   s_ij, t_ij the signs of differences
    """
    # Here rather than from scipy.stats, as `wilson_interval`; a test holds it to that.
    x, y = (np.sign(np.subtract.outer(values, values)) for values in (ours, theirs))
    scale = math.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale else math.nan


def _scipy_stats() -> ModuleType:
    """scipy.stats, whose import takes a second, which a board without seeds need not wait for."""
    import scipy.stats

    return scipy.stats


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
    # All draws at once: SciPy's function, one draw after the other, would take longer than all else of a board.
    signs = [np.sign(np.subtract.outer(values, values)) for values in (ours, theirs)]
    drawn = np.random.default_rng(0).integers(len(ours), size=(draws, len(ours)))
    x, y = (s[drawn[:, :, None], drawn[:, None, :]] for s in signs)
    both, scale = (x * y).sum((1, 2)), np.sqrt((x * x).sum((1, 2)) * (y * y).sum((1, 2)))
    ordered = scale > 0
    if not ordered.any():
        return math.nan, math.nan
    low, high = np.quantile(both[ordered] / scale[ordered], [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
