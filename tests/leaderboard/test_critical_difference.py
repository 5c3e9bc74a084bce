"""Friedman's and Nemenyi's tests, against Demsar's own example and SciPy."""

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from mergebench.leaderboard.critical_difference import rank_test

# Table 6 of Demsar (2006): AUC of C4.5 with and without tuned parameters m and cf, on 14 data sets. One of two values
# that round alike has a digit more, so that ranks are those that the paper works with.
DEMSAR = np.array(
    [
        [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957],
        [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978],
        [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.000, 0.965, 0.614, 0.9751, 0.946],
        [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.000, 0.962, 0.669, 0.975, 0.970],
    ]
)
NAMES = ("C4.5", "+m", "+cf", "+m+cf")


def test_it_is_what_demsar_computes_by_hand():
    test = rank_test(NAMES, DEMSAR)
    assert dict(zip(test.labels, np.round(test.ranks, 3), strict=True)) == {
        "C4.5": 3.143, "+m": 2.0, "+cf": 2.893, "+m+cf": 1.964
    }  # fmt: skip
    assert test.distance == pytest.approx(1.25, abs=0.005)
    assert test.p == pytest.approx(friedmanchisquare(*DEMSAR).pvalue)
    assert test.alike == [(0, 3)]  # the best and the worst are 1.18 apart


def test_rows_farther_apart_than_the_critical_difference_are_in_no_common_run():
    tasks = 40
    accuracies = np.repeat([[0.9], [0.8], [0.7], [0.6]], tasks, axis=1)
    accuracies[:2] = np.random.default_rng(0).permuted(accuracies[:2], axis=0)  # the first two take turns
    test = rank_test("abcd", accuracies)
    assert test.ranks[2:] == (3.0, 4.0) and test.distance < 1
    assert test.alike == [(0, 1)] or abs(test.ranks[0] - test.ranks[1]) > test.distance
    assert test.p < 1e-10


def test_equals_share_their_ranks_and_do_not_differ():
    test = rank_test("abc", np.full((3, 5), 0.5))
    assert test.ranks == (2.0, 2.0, 2.0) and test.p == 1.0 and test.alike == [(0, 2)]


def test_of_two_rows_or_one_task_there_is_no_test():
    assert rank_test("ab", np.random.rand(2, 8)) is None
    assert rank_test("abc", np.random.rand(3, 1)) is None
