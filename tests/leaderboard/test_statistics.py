"""Intervals against closed forms and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mergebench.leaderboard.statistics import average_interval, wilson_interval


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_are_where_the_score_test_is_just_rejected(counts):
    correct, total = counts
    p = correct / total
    for end in wilson_interval(correct, total):
        if 1e-9 < end < 1 - 1e-9:
            z = abs(p - end) / math.sqrt(end * (1 - end) / total)
            assert z == pytest.approx(1.959964, rel=1e-4)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_the_one_that_scipy_knows(counts, level):
    expected = binomtest(*counts).proportion_ci(level, method="wilson")
    assert wilson_interval(*counts, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_of_one_task_it_is_wilsons():
    assert average_interval([37], [50]) == pytest.approx(wilson_interval(37, 50))


def test_more_tasks_narrow_it_by_their_square_root():
    low, high = average_interval([30] * 4, [50] * 4)
    one_low, one_high = wilson_interval(30, 50)
    assert (0.6 - low, high - 0.6) == (pytest.approx((0.6 - one_low) / 2), pytest.approx((one_high - 0.6) / 2))


def test_it_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, totals = np.array([0.2, 0.55, 0.9, 0.98]), np.array([60, 100, 150, 80])
    hits = 0
    for _ in range(600):
        low, high = average_interval(rng.binomial(totals, truth).tolist(), totals.tolist())
        hits += low <= truth.mean() <= high
    assert 0.925 <= hits / 600 <= 0.98
