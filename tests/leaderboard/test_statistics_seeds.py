"""What seeds change: intervals and paired differences against scipy's own."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from mergebench.leaderboard.statistics import paired_difference, seed_interval

# Accuracies come as counts; steps of 1/1000 keep rounding out of what is compared.
ACCURACIES = st.integers(0, 1000).map(lambda n: n / 1000)


@given(st.lists(ACCURACIES, min_size=2, max_size=10), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_an_interval_is_students_of_the_mean(values, level):
    low, high = seed_interval(values, level)
    spread = stats.sem(values)
    if spread == 0:
        assert (low, high) == (pytest.approx(values[0]), pytest.approx(values[0]))
        return
    expected = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=spread)
    assert (low, high) == (pytest.approx(expected[0], abs=1e-12), pytest.approx(expected[1], abs=1e-12))


def test_an_interval_by_hand():
    # t of 0.975 with 2 degrees of freedom is 4.302653; the standard deviation of 0.4, 0.5, 0.6 is 0.1
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert seed_interval([0.4, 0.5, 0.6]) == (pytest.approx(0.5 - half, abs=1e-6), pytest.approx(0.5 + half, abs=1e-6))


def test_it_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        low, high = seed_interval(rng.normal(0.6, 0.02, 3).tolist())
        hits += low <= 0.6 <= high
    assert 0.93 <= hits / 2000 <= 0.97


@given(st.lists(st.tuples(ACCURACIES, ACCURACIES), min_size=2, max_size=10))
def test_a_paired_difference_is_the_paired_t_test(pairs):
    ours, theirs = ({s: p[i] for s, p in enumerate(pairs)} for i in (0, 1))
    assume(len({round(1000 * (a - b)) for a, b in pairs}) > 1)
    found = paired_difference(ours, theirs)
    test = stats.ttest_rel([a for a, _ in pairs], [b for _, b in pairs])
    interval = test.confidence_interval(0.95)
    assert found.pairs == len(pairs)
    assert found.mean == pytest.approx(sum(a - b for a, b in pairs) / len(pairs), abs=1e-12)
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)
    assert found.interval == (pytest.approx(interval.low, abs=1e-9), pytest.approx(interval.high, abs=1e-9))


@given(st.lists(st.tuples(ACCURACIES, ACCURACIES), min_size=2, max_size=6))
def test_the_other_way_round_only_the_sign_changes(pairs):
    ours, theirs = ({s: p[i] for s, p in enumerate(pairs)} for i in (0, 1))
    one, other = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert other.mean == pytest.approx(-one.mean, abs=1e-12)
    assert other.p == pytest.approx(one.p, abs=1e-9)
    assert other.interval == (
        pytest.approx(-one.interval[1], abs=1e-9),
        pytest.approx(-one.interval[0], abs=1e-9),
    )


def test_only_seeds_that_both_have_count_whatever_their_order():
    ours = {0: 0.5, 1: 0.6, 2: 0.9, 7: 0.1}
    theirs = {9: 1.0, 2: 0.4, 1: 0.5, 0: 0.45}
    expected = stats.ttest_rel([0.5, 0.6, 0.9], [0.45, 0.5, 0.4])
    found = paired_difference(ours, theirs)
    assert (found.pairs, found.p) == (3, pytest.approx(expected.pvalue))


@pytest.mark.parametrize(("ours", "theirs"), [({}, {}), ({0: 0.5}, {0: 0.4}), ({0: 0.5, 1: 0.6}, {1: 0.4, 2: 0.5})])
def test_fewer_than_two_pairs_give_nothing(ours, theirs):
    assert paired_difference(ours, theirs) is None


def test_no_difference_at_all_is_certain_of_nothing():
    same = {0: 0.5, 1: 0.7}
    assert paired_difference(same, dict(same)) == paired_difference({0: 0.1, 1: 0.2}, {0: 0.1, 1: 0.2})
    found = paired_difference(same, same)
    assert (found.mean, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_a_constant_difference_has_no_width():
    found = paired_difference({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5})
    assert (found.mean, found.interval, found.p) == (0.25, (0.25, 0.25), 0.0)


def test_a_difference_that_is_only_rounding_is_none():
    # Mean accuracies of (10, 20) and of (30, 0) of 100 are the same; as floats they differ in the last bit.
    ours, theirs = (0.1 + 0.2) / 2, (0.3 + 0.0) / 2
    assert ours != theirs
    found = paired_difference({0: ours, 1: ours, 2: ours}, {0: theirs, 1: theirs, 2: theirs})
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert found.p == 1.0


def test_a_constant_difference_up_to_rounding_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_difference({0: 0.9, 1: 0.4}, {0: 0.8, 1: 0.3})
    assert found.mean == pytest.approx(0.1) and found.interval == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.p < 1e-6
