"""Texts from results in each medium: nothing acts on a terminal, a page or a spreadsheet, or becomes a path."""

import csv
import re
import unicodedata

import pytest

from mergebench.cli import main
from mergebench.errors import LONGEST
from mergebench.leaderboard.media import for_csv, for_markdown, for_page

HOSTILE = "\x1b[2J\x9b1m\u202e\0\n<script>alert(1)</script> [x](javascript:1) | [red]"


def unseen(text):
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}


def stored(folder, *results):
    for number, result in enumerate(results):
        path = folder / "cells" / "s" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.model_dump_json())


@pytest.mark.parametrize("text", ["RegMean++ (alpha=0.5)", "task_arithmetic", "classes=[0, 1] > x", "*a* `b` & c"])
def test_ordinary_texts_stay(text):
    assert for_markdown(text, cell=True) == for_csv(text) == for_page(text) == text


def test_markdown_makes_no_element_link_or_cell():
    assert for_markdown("<script>") == "&lt;script>"
    assert for_markdown("![x](http://y)\n# z") == "![x]\\(http://y) # z"
    # GitHub takes a backslash and what is behind it together, then splits at bars that are left.
    for text, cell in ((r"a\|b", r"a\\\|b"), (r"a\\|b", r"a\\\\\|b"), ("|", r"\|"), ("a\\", "a\\")):
        assert for_markdown(text, cell=True) == cell
        assert "|" not in re.sub(r"\\.", "", cell)
    assert for_markdown("a|b") == "a|b" and for_markdown("a|b", cell=True) == "a\\|b"


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\t=1", "\r=1", " =1", "\uff1d1", "-1+cmd|'/c calc'!A0"])
def test_a_spreadsheet_finds_no_formula(text):
    assert for_csv(text) == "'" + text.replace("\t", " ").replace("\r", " ")


@pytest.mark.parametrize("value", [-3.2, "-3.2", "+1e5", 0, True, "", "a=1", "x-y"])
def test_numbers_stay_numbers(value):
    assert for_csv(value) == value


def test_hostile_results_write_in_their_folder_alone_and_act_on_nothing(make_result, at, tmp_path, capsys, recwarn):
    victim = tmp_path / "README.md"
    victim.write_text("mine")
    names = {"suite": str(tmp_path / "README"), "zoo": "../../z"}
    board = make_result("m", (50, 60), title=HOSTILE, suite=HOSTILE, paper=HOSTILE, hyperparameters={"a": HOSTILE})
    points = [at("=m", (c, 60), {HOSTILE: HOSTILE + v}, title=HOSTILE, **names) for v, c in (("1", 50), ("2", 60))]
    alone = at("m", (50, 60), {"expert": HOSTILE}, suite="alone" + HOSTILE, title=HOSTILE)
    studied = at("m", (50, 60), {"-x": -3.2}, study="../../../study", **names)
    failed = make_result(
        "n", (0, 0), status="failed", error=HOSTILE * 20_000, suite=HOSTILE, tasks={}, merge=None, evaluation=None
    )
    out = tmp_path / "out"
    stored(out, board, *points, alone, studied, failed)
    assert main(["leaderboard", "--out", str(out)]) == 0
    shown = capsys.readouterr().out + "".join(str(warning.message) for warning in recwarn)
    assert not unseen(shown) and "[red]" in shown
    assert victim.read_text() == "mine" and {path.name for path in tmp_path.iterdir()} == {"README.md", "out"}
    assert {p.name for p in out.iterdir()} == {"cells", "series", "site"}
    files = sorted((out / "series").iterdir())
    assert [f.suffix for f in files] == [".csv", ".md", ".png"] * 3
    page = (out / "site" / "index.html").read_text()
    assert not unseen(page) and "<script>" not in page and len(page) < 200_000 + 3 * LONGEST
    for file in files:
        if file.suffix == ".md":
            assert not unseen(file.read_text()) and "<script" not in file.read_text()
        if file.suffix == ".csv":
            cells = [cell for row in csv.reader(file.open()) for cell in row]
            assert "'=m" in cells or {"'-x", "-3.2"} <= set(cells) or "expert" in cells
            assert not [cell for cell in cells if cell[:1] in tuple("=+-@") and cell != "-3.2"]


def test_an_error_of_a_megabyte_is_told_in_a_line(make_result, tmp_path, capsys):
    long = make_result("n", (0, 0), status="failed", error="x\n" * 500_000, tasks={}, merge=None, evaluation=None)
    stored(tmp_path, make_result("m", (50, 60)), long)
    assert main(["leaderboard", "--out", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out) < 3 * LONGEST
    page = (tmp_path / "site" / "index.html").read_text()
    assert "... (1,000,000 characters)" in page and len(page) < 20_000 + LONGEST
