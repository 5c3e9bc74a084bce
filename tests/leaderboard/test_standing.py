"""Ranges of ranks: who is told apart, and how often a range leaves out the truth."""

import numpy as np
import pytest

from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.standing import standings


def row(right):
    return Outcomes.of_hits({0: {"a": right}})


def of(rates, images=400, seed=0):
    """Rows whose rates differ surely where they differ by a tenth."""
    ease = np.random.default_rng(seed).random(images)
    rows = [row(ease < rate) for rate in rates]
    return [r.averages[0] for r in rows], rows


def test_rows_far_apart_have_one_rank_and_equal_ones_share_theirs():
    found = standings(*of([0.9, 0.7, 0.7, 0.4]))
    assert [one.ranks for one in found] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert [one.leading for one in found] == [True, False, False, False]


def test_who_cannot_be_told_from_the_best_leads_with_it():
    averages, rows = of([0.8, 0.795, 0.5])
    found = standings(averages, rows)
    assert [one.leading for one in found] == [True, True, False]
    assert [one.ranks for one in found] == [(1, 2), (1, 2), (3, 3)]


def test_a_row_without_predictions_is_told_from_none():
    averages, rows = of([0.9, 0.7, 0.4])
    found = standings(averages, [rows[0], None, rows[2]])
    assert [one.ranks for one in found] == [(1, 2), (1, 3), (2, 3)]
    assert found[1].leading  # nothing says that it does not
    assert standings(averages, [rows[0], None, None]) is None
    assert standings([], []) is None


def test_rows_of_other_images_are_not_paired():
    averages, rows = of([0.9, 0.4])
    (_, other) = of([0.9, 0.4], images=300)
    assert standings(averages, [rows[0], other[1]]) is None


def test_ranges_hold_all_together_as_often_as_they_say():
    # Three equal rows, independent of each other: any range but (1, 3) is an error.
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        rows = [row(rng.random(150) < 0.6) for _ in range(3)]
        found = standings([r.averages[0] for r in rows], rows)
        wrong += any(one.ranks != (1, 3) for one in found)
    assert wrong / 400 == pytest.approx(0.05, abs=0.04)
    assert wrong > 0
