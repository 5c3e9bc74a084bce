"""The leaderboard on a terminal."""

import re
import sys
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any, NamedTuple, cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mergebench.errors import on_one_line
from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.formatting import leaders
from mergebench.leaderboard.reported_numbers import agreements, reported_average, reported_of
from mergebench.leaderboard.tracks import PUBLISHED

# Below this width rich would fold the numbers; a pipe or file has no width at all.
NEEDED_WIDTH = 200
MOST_WIDTH = 10_000  # beyond any table's, for measuring
TASKS = "tasks"
LABELS, LABEL_WIDTH = "long labels", 34
# What is left to the page where the terminal is too narrow, the first of these first; the rest is always there. Labels
# of methods are folded, as numbers never are.
YIELDING = (TASKS, "peak MB", "needs", "merge s", LABELS, "relative", "reported", "± seeds", "95 %", "difference")


class Column(NamedTuple):
    """One column.

    Args:
        name: at its head.
        cell: from a row and its label.
        right: whether it stands at the right of its column, as numbers do.
        group: as `YIELDING` names it.
    """

    name: str
    cell: Callable[[Row, str], str]
    right: bool = True
    group: str = ""


class _Unpadded:
    """The standard output of a pipe or file, whose lines end where their words end."""

    def write(self, text: str) -> int:
        return sys.stdout.write(re.sub(" +\n", "\n", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


def make_console(width: int = NEEDED_WIDTH) -> Console:
    """A console as wide as the terminal, or as asked for where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=width, file=cast("IO[str]", _Unpadded()))


def print_board(board: Board) -> None:
    """Print one board; where the terminal is too narrow, columns are left to the page, those of the tasks first."""
    console = make_console()
    # A pipe or file takes lines of any length, and whoever reads cut ones could not widen it.
    most = len(YIELDING) if sys.stdout.isatty() else 0
    for number in range(most + 1):
        table = _table(board, YIELDING[:number])
        needed = Measurement.get(console, console.options.update(max_width=MOST_WIDTH), table).maximum
        if needed <= console.width:
            break
    if needed > console.width and not most:
        console = make_console(needed)
    console.print(table)
    for sentence in filter(None, (leaders(board), board.note, *agreements(board))):
        console.print(on_one_line(sentence), highlight=False, markup=False)


def _columns(board: Board) -> Iterator[Column]:
    """All that there is to tell of a board's rows."""
    published = reported_of(board)
    yield Column("#", lambda row, label: formatting.rank(row))
    if any(row.ranks for row in board.rows):
        yield Column("ranks", lambda row, label: formatting.ranks(row))
    if any(row.track != PUBLISHED for row in board.rows):
        yield Column("track", lambda row, label: formatting.track(row), right=False)
    yield Column("method", lambda row, label: label, right=False)
    yield Column("needs", lambda row, label: formatting.needs(row), right=False)
    yield Column("average", lambda row, label: formatting.percent(row.average))
    if any(row.spread is not None for row in board.rows):
        yield Column("± seeds", lambda row, label: formatting.percent(row.spread))
    yield Column("95 %", lambda row, label: formatting.interval(row))
    yield Column("relative", lambda row, label: formatting.percent(row.relative))
    if published:
        yield Column("reported", lambda row, label: formatting.percent(reported_average(row, published)))
        yield Column(
            "difference", lambda row, label: formatting.difference(row.average, reported_average(row, published))
        )
    for task in board.tasks:
        yield Column(task, lambda row, label, task=task: formatting.percent(row.tasks.get(task)), group=TASKS)
    yield Column("merge s", lambda row, label: formatting.seconds(row))
    yield Column("peak MB", lambda row, label: formatting.megabytes(row))


def _table(board: Board, hidden: Collection[str]) -> Table:
    """Its rows, without these columns."""
    columns = list(_columns(board))
    shown = [column for column in columns if (column.group or column.name) not in hidden]
    left_out = dict.fromkeys(column.group or column.name for column in columns if column not in shown)
    named, images = f"{board.suite} on zoo {board.zoo}", sum(board.totals.values())
    table = Table(
        title=f"{escape(on_one_line(named))}: {len(board.tasks)} tasks, {images:,} test images",
        caption=_caption({column.name for column in shown}, list(left_out)),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for column in shown:
        justify = "right" if column.right else "left"
        folding = {"max_width": LABEL_WIDTH, "overflow": "fold"} if column.name == "method" and LABELS in hidden else {}
        table.add_column(escape(on_one_line(column.name)), justify=justify, no_wrap=not folding, **folding)
    for row, label in zip(board.rows, board.labels, strict=True):
        cells = (Text(on_one_line(column.cell(row, label))) for column in shown)
        table.add_row(*cells, style="dim" if row.role != "method" else None)
    return table


def _caption(shown: Collection[str], left_out: list[str]) -> str:
    """What the columns mean, and which are not here."""
    average = f"Average{' and 95 % interval' * ('95 %' in shown)} over test images, in %"
    relative = "; relative: to each task's own expert" if "relative" in shown else ""
    told = [f"{average}{relative}; references are not ranked."]
    meaning = {
        "± seeds": "± seeds: standard deviation over them.",
        "ranks": "Ranks: those that it may have, 95 %, all rows of a track together.",
        "reported": "reported: published, of the same checkpoints.",
        "difference": "difference: measured minus what was published of the same checkpoints.",
        "track": "Each track is ranked by itself.",
    }
    told += [sentence for name, sentence in meaning.items() if name in shown]
    return " ".join([*told, *[f"On the page: {', '.join(left_out)}."] * bool(left_out)])
