"""Tests of whether anything differs: p values of Student's t, of McNemar's test, and of many together.

Holm's and McNemar's are written here: scipy.stats and statsmodels take longer to load than all of a board. Tests hold
both to theirs.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr


def student(statistic: ArrayLike, freedom: ArrayLike) -> np.ndarray:
    """Two-sided p values of Student's t, P(|T| >= |t|).

    Args:
        statistic, freedom: t and its degrees of freedom, finite numbers [...] of one shape.
    """
    return 2 * stdtr(freedom, -np.abs(statistic))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: adjusted p values [m], so that one below 5 % is so among all m with 95 % confidence.

    The i-th smallest of m is multiplied by m - i + 1, and none is below a smaller one's.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    Args:
        p: p values [m].
    """
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test: of images that one of two alone classifies correctly, is that each as often?

        p = min(1, 2 sum_{i <= k} C(n, i) / 2^n),   k the lesser of the two counts, n their sum

    Args:
        ours, theirs: whether each image is classified correctly [N].

    Returns:
        How many images are right for us alone, how many for them alone, and the two-sided p value.
    """
    alone, others = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    count, ways, below = alone + others, 1, 1
    for i in range(min(alone, others)):
        ways = ways * (count - i) // (i + 1)
        below += ways
    return alone, others, min(1.0, 2 * below / 2**count)
