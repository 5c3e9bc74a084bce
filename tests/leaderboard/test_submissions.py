"""The submissions that come with mergebench hold, and on a board nothing submitted displaces what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.media import FORMULA
from mergebench.measuring.results import Listing
from mergebench.submissions import text
from mergebench.submissions.accepted import SCHEMA, TIERS, listed, logged
from mergebench.submissions.reading import read
from mergebench.submissions.schema import json_schema
from mergebench.submissions.verifying import bench_of, hold_to_benchmark, hold_to_card

FOLDER = Path(__file__).parents[2] / "leaderboard" / "submissions"
ACCEPTED = sorted(file for file in FOLDER.glob("*.json") if file.name != SCHEMA)


def test_the_published_schema_is_that_of_the_code():
    assert (FOLDER / SCHEMA).read_text() == json_schema()
    assert json.loads(json_schema())["additionalProperties"] is False


@pytest.mark.long
@pytest.mark.parametrize("file", ACCEPTED, ids=lambda file: file.stem)
def test_every_accepted_file_holds_and_has_its_line(file):
    found = read(file)
    assert logged(FOLDER)[file.name][0] == found.digest
    assert found.submission.submitter.author and found.submission.submitter.licence
    assert list(hold_to_card(found.submission))
    assert len(list(hold_to_benchmark(found, *bench_of(found.submission)))) == 2


def test_all_of_them_are_listed_with_a_tier():
    results, told = listed(FOLDER)
    assert told == [] and {r.listing.name for r in results} == {file.stem for file in ACCEPTED}
    assert {r.listing.tier for r in results} <= set(TIERS)
    assert len(ACCEPTED) >= 2


def test_reading_and_tables_know_the_same_beginnings_of_formulas():
    assert text.FORMULA == FORMULA


@pytest.fixture
def submitted(make_result):
    """A submission's result: its tier and all that `make_result` takes."""

    def make(*arguments, tier="self-reported", name="theirs", **changes):
        return make_result(*arguments, **changes).listed(Listing(name, "A. Author", tier))

    return make


def test_a_submission_is_a_row_of_its_own_with_its_tier(make_result, submitted):
    ours = [make_result("ties", (60, 60)), make_result("average", (50, 50))]
    theirs = [submitted("ties", (70, 70), seed=seed, tier=TIERS[1]) for seed in (0, 1)]
    (board,) = make_boards(ours + theirs)
    told = [(row.rank, label, row.seeds) for row, label in zip(board.rows, board.labels, strict=True)]
    assert told == [(1, "Ties [re-run here]", (0, 1)), (2, "Ties", (0,)), (3, "Average", (0,))]
    assert "Submitted, and not measured by this run: Ties (re-run here, by A. Author: theirs)." in board.note


def test_two_submissions_of_one_method_are_two_rows(make_result, submitted):
    (board,) = make_boards([submitted("ties", (70, 70), name="a"), submitted("ties", (60, 60), name="b")])
    assert [row.average for row in board.rows] == [0.7, 0.6]


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "others"},
        {"data": {"a/test": "others"}},
        {"conditions": {"restrict": {"blocks": "late"}}},
        {"environment": "cuda:0 (some)"},
    ],
)
def test_what_was_measured_on_something_else_is_not_shown_and_displaces_nothing(make_result, submitted, other):
    ours = make_result("ties", (60, 60), started="2026-01-01T00:00:00+00:00")
    if "environment" in other:
        other = {"environment": ours.environment.model_copy(update={"device": other["environment"]})}
    theirs = submitted("best", (100, 100), started="2027-01-01T00:00:00+00:00", **other)
    (board,) = make_boards([ours, theirs])
    assert [row.method for row in board.rows] == ["ties"] and board.note == ""


def test_another_code_of_the_same_method_parts_nothing(make_result, submitted):
    """Ours is of the code that is here; whatever was submitted later stands beside it."""
    ours = make_result("ties", (60, 60), source="ours")
    theirs = submitted("ties", (70, 70), source="theirs", started="2027-01-01T00:00:00+00:00")
    (board,) = make_boards([ours, theirs])
    assert [row.tier for row in board.rows] == ["self-reported", ""] and "other code" not in board.note


def test_no_file_of_a_result_says_that_it_is_a_submission(make_result, submitted):
    theirs = submitted("ties", (70, 70), tier=TIERS[2])
    text = theirs.model_dump_json()
    assert TIERS[2] not in text and type(theirs).model_validate_json(text).listing is None


@pytest.fixture
def proven(make_proven, submitted):
    """A result with its predictions, of ours or, with a tier, of a submission."""

    def make(method, *hits, tier="", **changes):
        found = make_proven(method, *hits, **changes)
        return found.listed(Listing("theirs", "A. Author", tier), found.hits()) if tier else found

    return make


def right(share, seed=0, flipped=()):
    """Which of 1,000 images are right, the same ones whenever the seed is; some are flipped."""
    found = np.random.default_rng(seed).random(1000) < share
    found[list(flipped)] ^= True
    return found


@pytest.mark.parametrize("flipped", [(), (3, 4, 500)])
def test_a_submission_of_what_was_measured_here_shares_its_row(proven, flipped):
    """Three images of a thousand are what another machine's rounding flips."""
    ours = [proven("ties", right(0.7), right(0.6, 1)), proven("average", right(0.5), right(0.5, 1))]
    theirs = [proven("ties", right(0.7, flipped=flipped), right(0.6, 1), tier=TIERS[1], seed=s) for s in (0, 1)]
    (board,) = make_boards(ours + theirs)
    assert [(row.rank, row.method, row.tier) for row in board.rows] == [(1, "ties", ""), (2, "average", "")]
    assert board.note.endswith("the same as measured here, in one row: Ties (re-run here, by A. Author: theirs).")


def test_a_copy_takes_no_part_in_what_is_told_of_the_others(proven):
    """A difference that is told without the submission is told beside it."""
    best, next_best = right(0.70), right(0.70)
    next_best[np.flatnonzero(best)[:9]] = False  # p = 0.0027, or 0.016 if each stood there twice
    ours = [proven("best", best, best), proven("next", next_best, best)]
    theirs = [proven("best", best, best, tier=TIERS[0]), proven("next", next_best, best, tier=TIERS[0])]
    alone, beside = (make_boards(some)[0].rows for some in (ours, ours + theirs))
    assert [row.ranks for row in alone] == [row.ranks for row in beside] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    "other",
    [
        {"hyperparameters": {"density": 0.1}},
        {"flipped": range(7)},
        {"seed": 4},
    ],
)
def test_a_submission_of_something_else_keeps_its_row(proven, other):
    """Other settings; more images than rounding flips; seeds that were not measured here."""
    flipped = other.pop("flipped", ())
    theirs = proven("ties", right(0.7, flipped=flipped), right(0.6, 1), tier=TIERS[0], **other)
    (board,) = make_boards([proven("ties", right(0.7), right(0.6, 1)), theirs])
    assert sorted(row.tier for row in board.rows) == ["", "self-reported"]
