"""Kendall's tau and its interval, against SciPy's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from mergebench.leaderboard.rank_correlation import rank_correlation, rank_correlation_interval


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=20))
def test_tau_is_the_one_that_scipy_knows(pairs):
    ours, theirs = zip(*pairs, strict=True)
    assert rank_correlation(ours, theirs) == pytest.approx(kendalltau(ours, theirs).statistic, nan_ok=True)


def test_the_interval_of_an_agreement_is_that_of_scipys_tau_over_the_same_draws():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=9), rng.integers(0, 5, size=9).astype(float)
    drawn = np.random.default_rng(0).integers(9, size=(200, 9))
    taus = [kendalltau(ours[d], theirs[d]).statistic for d in drawn]
    expected = np.nanquantile(taus, [0.025, 0.975])
    assert rank_correlation_interval(ours, theirs, draws=200) == pytest.approx(tuple(expected))
    assert rank_correlation_interval(ours, theirs, draws=200) == rank_correlation_interval(ours, theirs, draws=200)


def test_draws_of_one_thing_alone_are_left_out():
    assert rank_correlation_interval([1, 2, 3, 4], [1, 2, 3, 4]) == (1, 1)
    assert rank_correlation_interval([1, 2, 3, 4], [4, 3, 2, 1]) == (-1, -1)
    assert all(math.isnan(end) for end in rank_correlation_interval([1, 1, 1, 1], [1, 2, 3, 4]))
