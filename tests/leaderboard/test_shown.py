"""What is shown: boards and series of it alone are the boards and series of all."""

import itertools

import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.shown import shown, unshown_submissions
from mergebench.measuring.results import Listing


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


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"weights": "w2"}, "with other weights (base)"),
        ({"data": {"a/test": "e", "b/test": "d"}}, "on other images (a/test)"),
        ({"conditions": {"restrict": {"layers": "fc"}}}, "under other conditions"),
        ({"environment": "cuda"}, "on another kind of device"),
    ],
)
def test_a_submission_that_may_not_stand_here_is_told_with_the_reason(make_result, changes, why):
    data = {"a/test": "d", "b/test": "d"}
    ours = make_result("mine", (5, 6), data=data)
    if "environment" in changes:
        changes = {"environment": ours.environment.model_copy(update={"device": changes["environment"]})}
    listing = Listing("theirs", "A", "self-reported")
    theirs = [make_result("ties", (7, 8), seed=seed, **{"data": data, **changes}).listed(listing) for seed in (0, 1)]
    fitting = make_result("ties", (7, 9), data=data).listed(Listing("others", "B", "self-reported"))
    told = f"submission theirs is left out: it was measured {why} than the results of two on z here"
    assert unshown_submissions([*theirs, ours, fitting]) == [told]
    assert unshown_submissions(theirs) == unshown_submissions([ours, fitting]) == []
