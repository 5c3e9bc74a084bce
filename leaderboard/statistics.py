"""Intervals on accuracies that come as counts, and on what seeds change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from statsmodels.stats.proportion import proportion_confint

ROUNDING = 1e-12  # means of counts that are equal differ by no more


def wilson_interval(correct: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Args:
        correct, total: counts (a mean over seeds may be fractional).
        level: confidence.

    Returns:
        Lower and upper end, as fractions.
    """
    low, high = proportion_confint(correct, total, alpha=1 - level, method="wilson")
    return float(low), float(high)


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
    p = float(ttest_1samp(differences, 0.0).pvalue)
    half = _half_width(differences, 0.95)
    return Difference(mean, (mean - half, mean + half), p, len(differences))


def _half_width(values: Sequence[float], level: float) -> float:
    return float(student.ppf(0.5 + level / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
