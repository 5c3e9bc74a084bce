"""What an executor keeps: no more than it may, never less than an evaluation is at, and no memory behind an error."""

import gc
import traceback
import weakref

import numpy as np
import pytest

from mergebench.running.kept import Failures, Scores


class Large:
    """Something in memory that can be watched."""


def scored(size):
    return None, np.zeros(size, np.uint8), np.zeros(size, np.uint8)


def key(name):
    return name, "digits", "images"


def test_scores_that_nobody_asked_for_longest_make_room():
    scores = Scores(most=100)
    for name in "abcde":
        scores |= {key(name): scored(10)}
    assert key("a") in scores
    scores |= {key("f"): scored(10)}
    assert [k[0] for k in scores] == ["c", "d", "e", "a", "f"]


def test_what_an_evaluation_asks_for_is_there_until_it_is_done_however_much_it_is():
    scores = Scores(most=30)
    scores |= {key(name): scored(10) for name in "abcd"}
    assert len(scores) == 4
    assert key("a") in scores
    scores |= {key(name): scored(10) for name in "ef"}
    assert [scores[key(name)][1].size for name in "aef"] == [10, 10, 10] and len(scores) == 3


def test_scores_that_were_forgotten_take_no_room():
    scores = Scores(most=100)
    scores |= {key("a"): scored(50)}
    scores.clear()
    scores |= {key("b"): scored(50)}
    assert list(scores) == [key("b")]


def raised(watched, cause):
    """An error that came through frames with something large in them, from another that did."""

    def inner():
        held = Large()
        watched.append(weakref.ref(held))
        raise OSError("disk full")

    def outer():
        held = Large()
        watched.append(weakref.ref(held))
        try:
            inner()
        except OSError as error:
            raise ValueError("broken") from (error if cause else None)

    try:
        outer()
    except ValueError as error:
        return error


@pytest.mark.parametrize("cause", [True, False])
def test_an_error_that_is_kept_holds_no_memory_and_still_tells_where_it_was_raised(cause):
    failures, watched = Failures(), []
    failures["merge"] = raised(watched, cause)
    gc.collect()
    assert [one() for one in watched] == [None, None]
    told = "".join(traceback.format_exception(failures["merge"]))
    assert "in outer" in told and 'raise ValueError("broken")' in told


def test_what_an_earlier_error_closes_over_goes_with_the_next_one():
    failures, watched = Failures(), []

    def stores(name):
        held = Large()
        watched.append(weakref.ref(held))

        def fails():
            raise ValueError(f"{name} with {held}")

        try:
            fails()
        except ValueError as error:
            failures[name] = error

    for name in "abc":
        stores(name)
    gc.collect()
    assert [one() is None for one in watched] == [True, True, False]
    assert [str(error)[0] for error in failures.values()] == ["a", "b", "c"]


def test_one_error_of_several_merges_keeps_its_lines():
    failures = Failures()
    failures["step 1"] = error = raised([], cause=True)
    failures["step 2"] = error
    assert "in outer" in "".join(traceback.format_exception(failures["step 1"]))


def test_an_error_that_is_its_own_cause_ends():
    error = ValueError("circle")
    error.__cause__, error.__context__ = error, error
    failures = Failures()
    failures["merge"] = error
    assert failures["merge"] is error
