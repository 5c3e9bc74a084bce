"""Each format of a grid: what it says, and that real compilers and readers take it whatever the texts are."""

import csv
import io
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergebench.leaderboard.media import for_latex, for_typst
from mergebench.leaderboard.tables.boards import board_grid
from mergebench.leaderboard.tables.csv_file import csv_file
from mergebench.leaderboard.tables.grid import Cell, Column, Grid, GridRow
from mergebench.leaderboard.tables.latex import latex
from mergebench.leaderboard.tables.markdown import markdown
from mergebench.leaderboard.tables.room import letters, lines
from mergebench.leaderboard.tables.typst import typst

# Whatever would be a command, a comment, markup or code, a ligature or the argument of a line's end.
HOSTILE = (
    "*[2ex] \\input{/etc/passwd} \\end{tabular} %x $y$ a_b^c & {d} #e ~f ^^41 --- ``q'' \"z\" <i> |j| = + / @k "
    "#panic() $x$ // c */ é ł ß α Σ ± 中 \x1b[2J\u202e\n\ttwo https://x.y \\\\ ?` !` ç Å ǖ"
)
pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex here: apt-get install texlive-latex-base"
)


def compiled(tmp_path, *tables):
    """The log of pdfLaTeX, which must not complain, on a document of these tables."""
    preamble = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
    (tmp_path / "x.tex").write_text(preamble + "\n".join(tables) + "\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "x.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


def test_markdown_shows_marks_spreads_and_what_they_mean(board, wishes):
    text = markdown(board_grid(board, wishes()))
    lines = text.splitlines()
    assert lines[0] == "**two on z: 2 tasks, 200 test images**"
    assert lines[2:5] == [
        "| method | a | b | average |",
        "| --- | ---: | ---: | ---: |",
        "| Base | 85.0 | 20.0 | 52.5 |",
    ]
    assert "| Ties | **60.0** | <ins>70.0</ins> | **65.0** |" in lines
    assert "| C | 42.0 | 60.0 | 51.0 ± 1.4 |" in lines
    assert lines[-1].startswith("Accuracies in %. Best in bold, second underlined, references aside. ±: ")


def test_latex_is_booktabs_with_a_rule_below_the_references(board, wishes):
    text = latex(board_grid(board, wishes(digits=0)))
    assert "\\usepackage{booktabs}" in text and "\\label{tab:two-z}" in text and "|" not in text
    body = text.partition("\\toprule\n")[2].splitlines()
    assert body[0] == "method & a & b & average \\\\" and body[1] == body[4] == "\\midrule"
    assert body[5] == "Ties & \\textbf{60} & \\underline{70} & \\textbf{65} \\\\"
    assert body[7] == "C & 42 & 60 & 51 {\\scriptsize$\\pm$1} \\\\" and body[8] == "\\bottomrule"


def test_groups_stand_above_their_columns(titled):
    grid = titled("x")
    assert "\\multicolumn{2}{c}{x} & \\multicolumn{1}{c}{} \\\\\n\\cmidrule(lr){2-3}\n" in latex(grid)
    assert 'table.cell(colspan: 2, align: center, "x")' in typst(grid)
    assert "| x | x: x | x: x | text |" in markdown(grid)


def test_a_group_of_several_names_stands_on_as_many_lines_and_takes_the_room_of_the_longest(titled):
    assert "\\multicolumn{2}{c}{\\shortstack{x, \\\\ y, \\\\ z\\_}}" in latex(titled("x, y, z_"))
    assert lines("a, bc, d") == ["a,", "bc,", "d"] and lines("a") == ["a"] and lines("") == [""]
    wide, narrow = (Grid("n", "t", "m", (Column("x", group),), ()) for group in ("long name, y", "z"))
    assert (letters(wide), letters(narrow)) == (1 + 12, 1 + 3)


def test_csv_has_numbers_and_standard_deviations_in_columns_of_their_own(board, wishes):
    rows = list(csv.reader(io.StringIO(csv_file(board_grid(board, wishes(digits=2))))))
    assert rows[0] == ["method", "title", "a", "b", "average", "average std"]
    assert rows[-1] == ["c", "C", "42.00", "60.00", "51.00", "1.41"] and rows[1][-1] == ""


def test_a_wide_table_becomes_smaller_and_at_last_its_headers_stand_upright(make_result, wishes):
    def made(number, name):
        row = GridRow("m", "M", False, (Cell(68.0),) * number)
        return latex(Grid("n", "t", "method", (Column(name),) * number, (row,)))

    assert "\\centering\n" in made(3, "a") and "\\centering\\footnotesize\n" in made(9, "stanford")
    assert "rotatebox" in made(20, "stanford-cars") and "graphicx" in made(20, "stanford-cars")


@pdflatex
def test_pdflatex_sets_a_board_as_it_stands(board, wishes, tmp_path):
    log = compiled(tmp_path, latex(board_grid(board, wishes(columns=["tasks", "average", "needs", "seconds"]))))
    assert "Output written on x.pdf (1 page" in log and "Overfull" not in log


@pdflatex
def test_pdflatex_sets_hostile_texts_and_nothing_acts(titled, tmp_path):
    letters = [f"{for_latex(chr(code))}\n" for code in range(0x20, 0x600)]
    tables = [latex(titled(text)) for text in (HOSTILE, HOSTILE[::-1])]
    assert "/etc/passwd)" not in compiled(tmp_path, *letters, *tables)


@pdflatex
def test_pdflatex_sets_any_text(tmp_path):
    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.text(min_size=1), min_size=40, max_size=40))
    def sets(texts):
        compiled(tmp_path, "\n\n".join(f"\\mbox{{{for_latex(text)}}}" for text in texts))

    sets()


@given(st.text())
def test_in_latex_no_special_character_stands_bare(text):
    """What is left of the escaped text without the commands that it may hold is ordinary."""
    escaped = for_latex(text)
    commands = r"\\(?:[{}$&#_%]|[a-zA-Z]+\d*\{(?:\\[a-z A-Z]+)?[a-zA-Z]?\}|[`'^~=.\"]\{[A-Za-z]\})|\{[][*]?\}|~"
    assert not set(re.sub(commands, "", escaped)) & set('\\{}$&#_%^~[]*"<>|'), escaped
    assert escaped.isascii()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RegMean++ (alpha=0.5)", "RegMean++ (alpha=0.5)"),
        ("task_arithmetic & 5 %", "task\\_arithmetic \\& 5 \\%"),
        ("Schrödinger, Łukasz", 'Schr\\"{o}dinger, \\L{}ukasz'),
        ("λ = 中", "\\ensuremath{\\lambda} = U+4E2D"),
        ("a--b", "a-{}-b"),
        ("[0, 1]*", "{[}0, 1{]}{*}"),
    ],
)
def test_ordinary_texts_stay_and_others_are_spelt(text, told):
    assert for_latex(text) == told


@given(st.text())
def test_in_typst_a_text_is_one_string(text):
    body = for_typst(text)
    assert body[0] == body[-1] == '"' and "\n" not in body
    assert re.fullmatch(r'(?:[^"\\]|\\["\\])*', body[1:-1])


def test_typst_compiles_boards_and_hostile_texts_and_nothing_acts(board, wishes, titled, tmp_path):
    compiler = pytest.importorskip("typst", reason="no Typst compiler here: pip install typst")
    tables = [board_grid(board, wishes(columns=["tasks", "average", "needs"])), titled(HOSTILE), titled(HOSTILE[::-1])]
    file = tmp_path / "x.typ"
    file.write_text("\n".join(map(typst, tables)), encoding="utf-8")
    assert compiler.compile(str(file)).startswith(b"%PDF")


def test_csv_and_markdown_hold_hostile_texts(titled):
    grid = titled("=1+1|x\n<script>")
    rows = list(csv.reader(io.StringIO(csv_file(grid))))
    assert {len(row) for row in rows} == {len(rows[0])} and rows[1][0] == "'=1+1|x <script>"
    lines = [line for line in markdown(grid).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and "<script" not in markdown(grid)
