"""One odd result costs its own row, with a sentence; titles that look like formulas cost nothing."""

import json
import re

import pytest

from mergebench.cli.showing import show_leaderboard
from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.plot import draw, inline_svg
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.sound import sound
from mergebench.measuring.results import ResultStore

FORMULA = r"$\frac{1}{0$"


@pytest.fixture
def folder(tmp_path, make_result):
    """A run's folder as an earlier version left it: results without proof."""
    cells = tmp_path / "cells" / "two"
    cells.mkdir(parents=True)
    for method, correct in (("mine", (50, 60)), ("other", (55, 65)), ("third", (40, 45))):
        content = json.loads(make_result(method, correct).model_dump_json())
        for name in ("checksum", "cell", "where", "traceback"):
            del content[name]
        (cells / f"{method}-s0-0.json").write_text(json.dumps(content))
    return tmp_path


def test_a_result_of_which_no_table_can_be_made_is_found_and_told(make_result):
    results = [make_result(f"m{i}", (50, 60)) for i in range(9)]

    def make(some):
        return [r.method for r in some if r.method != "m4" or {}["m4"]]

    made, (told,) = sound(results, make)
    assert made == [f"m{i}" for i in range(9) if i != 4]
    assert told == "left out: m4 (seed 0) of two: no table can show it (KeyError: 'm4')"


def test_seeds_on_other_tasks_cost_one_row_and_not_the_board(make_result):
    one = make_result("mine", (50, 60))
    odd = make_result("mine", (50, 60), seed=1, started="2026-01-02")
    odd = odd.model_copy(update={"tasks": {"c": odd.tasks["a"]}})
    boards, told = sound([one, make_result("other", (1, 2)), odd], make_boards)
    assert len(told) == 1 and {row.method for row in boards[0].rows} == {"mine", "other"}


def test_results_without_proof_are_shown_and_said_to_be(folder, capsys):
    show_leaderboard(ResultStore(folder))
    out = " ".join(capsys.readouterr().out.split())
    assert "Not proven" in out and ": Mine, Other, Third." in out
    assert "Not proven" in (folder / "site" / "index.html").read_text()


@pytest.mark.parametrize(
    "change",
    [{"tasks": {}}, {"merge": None}, {"origins": {"base": "no commit"}}, {"tuned": {"trials": 2}}, {"point": []}],
)
def test_an_odd_file_takes_no_other_row_down(folder, change, capsys):
    path = folder / "cells" / "two" / "mine-s0-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    show_leaderboard(ResultStore(folder))
    out = capsys.readouterr().out
    assert re.search("Other", out) and re.search("Third", out)
    assert "origins" in change or f"{path} is set aside" in out


def test_a_study_s_result_at_no_point_costs_its_own_row(folder, capsys):
    path = folder / "cells" / "two" / "mine-s0-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"study": "x"}))
    show_leaderboard(ResultStore(folder))
    out = " ".join(capsys.readouterr().out.split())
    assert "no table can show it (ValueError: it stands at no point of its study)" in out and "Other" in out


def test_a_page_that_cannot_be_written_is_told_below_the_tables(folder, capsys):
    (folder / "site" / "index.html").mkdir(parents=True)
    show_leaderboard(ResultStore(folder))
    out = capsys.readouterr().out
    assert "Other" in out and "not written: cannot write" in " ".join(out.split())


def test_what_looks_like_a_formula_stands_in_pictures_as_it_is(at):
    lines = [at("mine", (50, 60), {FORMULA: value}, title=FORMULA) for value in (FORMULA, "plain")]
    matrix = [at("mine", (50, 60), {"expert": FORMULA}, title=FORMULA)]
    for results in (lines, matrix):
        (series,) = make_series(results)
        assert "frac{1}{0$" in inline_svg(draw(series))
