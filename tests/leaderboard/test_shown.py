"""What is shown: boards and series of it alone are the boards and series of all."""

import itertools

import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.shown import shown


def when(second):
    return {"started": f"2026-01-01T00:00:{second:02}"}


@pytest.fixture
def boards(make_result):
    """Results of two methods, most of which something newer has displaced."""
    return [
        make_result("mine", (1, 2), **when(1), source="old"),
        make_result("mine", (3, 4), **when(2)),
        make_result("mine", (5, 6), **when(3)),
        make_result("mine", (5, 7), **when(3), seed=1),
        make_result("mine", (5, 6), **when(4), hyperparameters={"scale": 1.0}),
        make_result("other", (7, 8), **when(5), weights="older"),
        make_result("other", (9, 10), **when(6), suite="three"),
        make_result("other", (9, 10), **when(7), status="failed", error="no"),
        make_result("broken", (0, 0), **when(8), status="failed", error="no"),
    ]


@pytest.fixture
def series(at):
    """Results of a series, likewise."""
    return [
        at("mine", (1, 2), {"tasks": 2}, **when(1), source="old"),
        at("mine", (1, 2), {"tasks": 2}, **when(2), status="failed", error="no"),
        at("mine", (3, 4), {"tasks": 2}, **when(3)),
        at("mine", (5, 6), {"tasks": 4}, **when(4)),
        at("mine", (5, 6), {"tasks": 8}, **when(5), status="failed", error="no"),
    ]


def made(results):
    plain = [r for r in results if not r.point]
    return repr(make_boards(plain)), repr([(s.points, s.lines, s.notes) for s in make_series(results)])


def test_what_newer_results_have_displaced_is_not_shown(boards, series):
    assert [boards.index(r) for r in shown(boards)] == [2, 3, 4, 6, 7, 8]
    assert [series.index(r) for r in shown(series)] == [2, 3, 4]


def test_boards_and_series_of_what_is_shown_are_those_of_all(boards, series):
    every = [*boards, *series]
    assert made(shown(every)) == made(every)
    assert shown(shown(every)) == shown(every)


def test_so_it_is_of_every_choice_of_results(boards):
    for size in (1, 2, 3):
        for some in itertools.combinations(boards, size):
            assert made(shown(some)) == made(some)
