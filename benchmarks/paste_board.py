"""Put the main board where the project shows it: README's best ten, docs/board.md, its CSV files, the table for papers.

Usage: python benchmarks/paste_board.py runs      # the folder of results that `make board` leaves
"""

import argparse
import contextlib
import io
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

from marks import pasted
from orders import orders

from mergebench.cli import main as command
from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row, make_boards
from mergebench.leaderboard.reported_numbers import agreements
from mergebench.leaderboard.tracks import PUBLISHED, TUNED
from mergebench.measuring.results import ResultStore

ROOT = Path(__file__).parent.parent
SUITE, BEST = "tiny-8", 10
COLUMNS = "rank average relative tasks"  # of the CSV files, which docs/results.md names


def printed(arguments: str, out: Path, suite: str = SUITE) -> str:
    """What a verb prints of a folder of results."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        if command([*shlex.split(arguments), "--suite", suite, "--out", str(out)]):
            raise SystemExit(f"mergebench {arguments} failed on {out}")
    return said.getvalue()


def in_markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table; its first column and those of numbers stand to the right."""
    rules = ["---" if name in ("method", "needs", "ranks") else "---:" for name in header]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rules, *rows])


def best(board: Board) -> str:
    """The ten best under tuned settings, each with what it has under published ones."""
    published = {row.method: row for row in board.rows if row.track == PUBLISHED and row.average is not None}
    rows = [row for row in board.rows if row.track == TUNED and row.rank is not None][:BEST]
    lines = []
    for row in rows:
        before = published[row.method].average if row.method in published else None
        cells = [formatting.rank(row), formatting.ranks(row), row.title, formatting.needs(row)]
        lines.append([*cells, with_spread(row), formatting.interval(row), formatting.percent(before)])
    return in_markdown(["#", "ranks", "method", "needs", "tuned", "95 %", "published"], lines)


def with_spread(row: Row) -> str:
    """The average and, where there are several seeds, its standard deviation over them."""
    spread = "" if row.spread is None else f" ± {formatting.percent(row.spread)}"
    return formatting.percent(row.average) + spread


def whole(board: Board, track: str) -> str:
    """All rows of a track, references first in both."""
    rows = [row for row in board.rows if row.role != "method" or row.track == track]
    header = ["#", "ranks", "method", "needs", "average", "95 %", "relative", *board.tasks, "merge s", "peak MB"]
    lines = []
    for row in rows:
        tasks = [formatting.percent(row.tasks.get(task)) for task in board.tasks]
        cells = [formatting.rank(row), formatting.ranks(row), row.title, formatting.needs(row), with_spread(row)]
        cells += [formatting.interval(row), formatting.percent(row.relative), *tasks]
        lines.append([*cells, formatting.seconds(row), formatting.megabytes(row)])
    return in_markdown(header, lines)


def chosen(board: Board) -> str:
    """What the searches chose, and what that gave on either split."""
    lines = []
    for row in board.rows:
        if row.track == TUNED and row.tuned:
            record = row.tuned
            settings = ", ".join(f"{name}={shown(row.hyperparameters[name])}" for name in record.get("space", {}))
            validation = [formatting.percent(record.get(name)) for name in ("default", "best")]
            gain = "-" if row.gain is None else f"{100 * row.gain:+.1f}"
            lines.append([row.title, settings, *validation, gain])
    header = ["method", "settings", "validation, default", "validation, chosen", "test, gain"]
    return in_markdown(header, lines)


def shown(value: Any) -> str:
    """A setting, in as many digits as a reader can use."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def notes(board: Board) -> str:
    """What the command says below its table, sentence by sentence."""
    told = filter(None, (formatting.leaders(board), board.note, *agreements(board)))
    return "\n".join(textwrap.fill(f"- {line}", 118, subsequent_indent="  ", break_on_hyphens=False) for line in told)


def board_of(out: Path, suite: str) -> Board:
    """The board of a suite on the tiny zoo, of a folder of results."""
    boards = make_boards(ResultStore(out).all())
    return next(b for b in boards if (b.suite, b.zoo, b.variant) == (suite, "tiny", ""))


def paste(name: str, parts: dict[str, str]) -> None:
    """Replace what stands between a page's marks.

    Raises:
        SystemExit: the page has no such marks.
    """
    page = (ROOT / name).read_text(encoding="utf-8")
    for mark, text in parts.items():
        page = pasted(page, mark, text) or _missing(name, mark)
    (ROOT / name).write_text(page, encoding="utf-8")


def write_csv(out: Path, suite: str) -> None:
    """Write both tracks of a suite, with all its tasks, beside the pages."""
    for track in (TUNED, PUBLISHED):
        text = printed(f"table --format csv --track {track} --columns {COLUMNS}", out, suite)
        (ROOT / f"docs/{suite}-{track}.csv").write_text(text, encoding="utf-8")


def main() -> None:
    """Replace what stands between the marks, and write the CSV files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of results")
    out = parser.parse_args().out
    board = board_of(out, SUITE)
    paper = printed(
        'table --format latex --track tuned --rows average ties "regmean*" tsv_m --columns average relative ranks '
        "--order year",
        out,
    )
    tabular = re.search(r"\\begin\{tabular\}.*?\\end\{tabular\}", paper, re.DOTALL)[0]
    texts = {
        "README.md": {"top": best(board)},
        "docs/board.md": {
            TUNED: whole(board, TUNED),
            PUBLISHED: whole(board, PUBLISHED),
            "chosen": chosen(board),
            "orders": orders(board),
            "notes": notes(board),
        },
        "docs/results.md": {"latex": f"```latex\n{tabular}\n```"},
    }
    for name, parts in texts.items():
        paste(name, parts)
    write_csv(out, SUITE)


def _missing(page: str, mark: str) -> str:
    raise SystemExit(f"{page}: no <!-- {mark} --> and <!-- /{mark} --> to paste between")


if __name__ == "__main__":
    main()
