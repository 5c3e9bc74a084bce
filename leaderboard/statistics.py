"""Intervals on accuracies that come as counts."""

import math
from collections.abc import Sequence

import numpy as np
from statsmodels.stats.proportion import proportion_confint


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
