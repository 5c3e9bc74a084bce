"""Rows whose hyper-parameters a search has chosen: told from the others, with what the search saw."""

import pytest
import yaml
from jsonargparse.typing import ClosedUnitInterval
from pydantic import ValidationError

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.series_table import markdown
from mergebench.leaderboard.site.method_page import choices
from mergebench.leaderboard.site.write import write_site
from mergebench.leaderboard.table import print_board

RECORD = {
    "trials": 20,
    "failed": 1,
    "seed": 0,
    "space": {"alpha": {"low": 0.1, "high": 1.0, "log": True}, "kind": ["a", "b"]},
    "default": 0.4,
    "best": 0.4567,
}
DEFAULT, CHOSEN = {"alpha": 0.3, "n": 3, "kind": "a"}, {"alpha": 0.7, "n": 3, "kind": "a"}
NOTE = (
    "Tuned rows chose their hyper-parameters on the validation split: "
    "M (alpha=0.7, kind=a) with 20 trials (45.7 % there, the default 40.0 %)."
)


def test_a_tuned_row_stands_beside_the_default_one_and_says_what_was_chosen(make_result, capsys, tmp_path):
    results = [
        make_result("m", (40, 45), hyperparameters=DEFAULT),
        make_result("m", (50, 55), hyperparameters=CHOSEN, tuned=RECORD),
        make_result("other", (10, 10)),
    ]
    boards = make_boards(results)
    print_board(boards[0])
    for text in (capsys.readouterr().out, write_site(boards, tmp_path / "site").read_text()):
        assert "M (tuned: alpha=0.7, kind=a)" in text and "M (alpha=0.3)" in text
        assert NOTE in text and "Other (" not in text
    for page in (*(tmp_path / "site/methods").glob("m.html"), *(tmp_path / "site/tasks").iterdir()):
        text = page.read_text()
        assert '<td class="name">tuned</td>' in text and '<td class="name">published</td>' in text


def test_settings_of_restricted_types_stand_in_the_file_of_a_tuned_row(make_result):
    place = {"suite": "two", "zoo": "z", "fixed": {}, "studies": [{"seed": 0}]}
    (board,) = make_boards(
        [make_result("m", (5, 5), hyperparameters=CHOSEN | {"alpha": ClosedUnitInterval(0.7)}, tuned=RECORD | place)]
    )
    told = yaml.safe_load("\n".join(choices(board.rows[0])))
    assert told["methods"]["m"]["settings"] == {"alpha": 0.7, "kind": "a"}


def test_a_row_whose_record_does_not_tell_all_that_a_file_must_has_none(make_result):
    (board,) = make_boards([make_result("m", (5, 5), hyperparameters=CHOSEN, tuned=RECORD)])
    assert board.rows[0].track == "tuned" and choices(board.rows[0]) == []


@pytest.mark.parametrize("fixed", [5, ["a"], None])
def test_a_record_whose_fixed_values_are_none_is_refused_with_its_result(make_result, fixed):
    with pytest.raises(ValidationError, match="fixed"):
        make_result("m", (5, 5), hyperparameters=CHOSEN, tuned=RECORD | {"fixed": fixed})


def test_a_tuned_row_alone_says_so_too_and_what_else_differs(make_result):
    tuned = make_result("m", (50, 55), hyperparameters=CHOSEN, tuned=RECORD)
    (board,) = make_boards([tuned])
    assert board.rows[0].tuned == RECORD and board.note == NOTE
    fixed = make_result("m", (60, 60), hyperparameters=CHOSEN | {"n": 4}, tuned=RECORD)
    (board,) = make_boards([tuned, fixed])

    assert board.labels == ["M (tuned: alpha=0.7, kind=a, n=4)", "M (tuned: alpha=0.7, kind=a, n=3)"]


def test_without_a_search_nothing_is_said_of_one(make_result):
    (board,) = make_boards([make_result("m", (40, 45), hyperparameters=DEFAULT)])
    assert board.rows[0].tuned == {} and board.note == ""


def test_one_seed_with_a_record_makes_the_row_a_tuned_one_and_the_newest_record_counts(make_result):
    later = {"trials": 40}
    results = [
        make_result("m", (50, 55), hyperparameters=CHOSEN, tuned=RECORD, seed=0),
        make_result("m", (50, 57), hyperparameters=CHOSEN, seed=1, started="2026-03-01T00:00:00+00:00"),
        make_result("m", (50, 59), hyperparameters=CHOSEN, tuned=RECORD | later, seed=2, asked="2026-02-01"),
    ]
    (row,) = make_boards(results)[0].rows
    assert row.seeds == (0, 1, 2) and row.tuned == RECORD | later


def test_a_default_that_failed_in_the_search_is_told(make_result):
    (board,) = make_boards([make_result("m", (5, 5), hyperparameters=CHOSEN, tuned=RECORD | {"default": None})])
    assert "(45.7 % there, the default failed)" in board.note


@pytest.mark.parametrize("tuned", [{}, RECORD])
def test_a_suite_with_variants_tells_at_which_of_them_a_line_was_tuned(at, tuned):
    results = [at("m", (40, 45), {"tasks": n}, hyperparameters=DEFAULT, position=n) for n in (2, 4)]
    results += [at("m", (50, 55), {"tasks": 4}, hyperparameters=CHOSEN, tuned=tuned, position=4)]
    (series,) = make_series(results)
    label = "M (tuned: alpha=0.7, kind=a)" if tuned else "M (alpha=0.7)"
    assert set(series.labels) == {"M (alpha=0.3)", label}
    where = NOTE.replace("kind=a)", "kind=a) at tasks=4")
    assert (where in series.notes) is (where in markdown(series)) is bool(tuned)
