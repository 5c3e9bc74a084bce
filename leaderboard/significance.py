"""Tests of whether anything differs: p values of Student's t, of McNemar's test, and of many together.

Written here and not imported: scipy.special takes a third of a board's time to load, scipy.stats and statsmodels take
longer than all of it. Tests hold each function to theirs.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

# Of a continued fraction: pairs of terms, of which the root of the degrees of freedom are enough, and what the last may
# still change.
MOST, CLOSE = 10_000, 1e-14


def student(statistic: ArrayLike, freedom: ArrayLike) -> np.ndarray:
    """Two-sided p values of Student's t, P(|T| >= |t|) = I_x(df / 2, 1 / 2) with x = df / (df + t^2).

    I is the regularized incomplete beta function, by its continued fraction (NIST's Digital Library of Mathematical
    Functions, 8.17.22); where that is slow, 1 - I_{1-x}(1 / 2, df / 2).

    Args:
        statistic, freedom: t and its degrees of freedom, finite numbers [...] of one shape.
    """
    square, half = np.square(np.asarray(statistic, dtype=float)), np.asarray(freedom, dtype=float) / 2
    x, rest = 2 * half / (2 * half + square), square / (2 * half + square)
    turned = x * (half + 2.5) > half + 1
    a, b, x = np.where(turned, 0.5, half), np.where(turned, half, 0.5), np.where(turned, rest, x)
    gamma = np.vectorize(math.lgamma, otypes=[float])
    with np.errstate(divide="ignore"):  # of a difference of 0, whose p value is 1
        front = 0.5 * np.log(rest) - half * np.log1p(square / (2 * half))
    front += gamma(half + 0.5) - gamma(half) - math.lgamma(0.5)
    tail = np.exp(front) / a * _fraction(x, a, b)
    return np.where(turned, 1 - tail, tail)


def _fraction(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 / (1 + d_1 / (1 + d_2 / ...)) with the incomplete beta function's d, from the front (Lentz's algorithm)."""
    whole, above, below = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    for m in range(MOST):
        for d in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) if m else None,
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            if d is not None:
                above, below = 1 + d / above, 1 / (1 + d * below)
                whole = whole * above * below
        if np.all(np.abs(above * below - 1) < CLOSE):
            break
    return 1 / whole


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
