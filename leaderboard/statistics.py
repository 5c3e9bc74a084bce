"""Intervals on accuracies that come as counts, and on what seeds change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mergebench.leaderboard.significance import student

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
    half, count = _half_width(differences, 0.95), len(differences)
    statistic = mean / (np.std(differences, ddof=1) / math.sqrt(count))
    return Difference(mean, (mean - half, mean + half), float(student(statistic, count - 1)), count)


def _half_width(values: Sequence[float], level: float) -> float:
    from scipy.special import stdtrit  # a fifth of a second, which a board without seeds need not wait for

    return float(stdtrit(len(values) - 1, 0.5 + level / 2) * np.std(values, ddof=1) / math.sqrt(len(values)))
