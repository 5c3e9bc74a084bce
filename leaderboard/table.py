"""The leaderboard on a terminal."""

import sys

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mergebench.errors import on_one_line
from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board
from mergebench.leaderboard.formatting import leaders
from mergebench.leaderboard.reported_numbers import agreements, reported_average, reported_of
from mergebench.leaderboard.tracks import TUNED

# Below this width rich would fold the numbers; a pipe or file has no width at all.
NEEDED_WIDTH = 200
MOST_WIDTH = 10_000  # beyond any table's, for measuring


def make_console() -> Console:
    """A console as wide as the terminal, or wide enough where there is none."""
    return Console(width=None if sys.stdout.isatty() else NEEDED_WIDTH)


def print_board(board: Board) -> None:
    """Print one board; where the terminal is too narrow for the tasks' columns, they are left to the page."""
    console, table = make_console(), _table(board, wide=True)
    needed = Measurement.get(console, console.options.update(max_width=MOST_WIDTH), table).maximum
    if needed <= console.width:
        console.print(table)
    elif sys.stdout.isatty():
        console.print(_table(board, wide=False))
    else:  # a pipe or file takes lines of any length, and whoever reads cut ones could not widen it
        Console(width=needed).print(table)
    for sentence in filter(None, (leaders(board), board.note, *agreements(board))):
        console.print(on_one_line(sentence), highlight=False, markup=False)


def _table(board: Board, wide: bool) -> Table:
    """Its rows, with the tasks' columns or without."""
    published = reported_of(board)
    beside = ("reported", "difference") if published else ()
    named, images = f"{board.suite} on zoo {board.zoo}", sum(board.totals.values())
    seeds = ("± seeds",) if any(row.spread is not None for row in board.rows) else ()
    ranges = ("ranks",) if any(row.ranks for row in board.rows) else ()
    tracks = ("track",) if any(row.track == TUNED for row in board.rows) else ()
    table = Table(
        title=f"{escape(on_one_line(named))}: {len(board.tasks)} tasks, {images:,} test images",
        caption="Average and 95 % interval over test images, in %; relative: to each task's own expert; "
        "references are not ranked."
        + (" ± seeds: standard deviation over them." if seeds else "")
        + (" Ranks: those that it may have, 95 %, all rows together." if ranges else "")
        + (" reported: published, of the same checkpoints; difference: measured minus that." if beside else "")
        + (" Each track is ranked by itself." if tracks else "")
        + ("" if wide else " Per-task accuracies are on the page."),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for name in ("#", *ranges):
        table.add_column(name, justify="right", no_wrap=True)
    for name in (*tracks, "method"):
        table.add_column(name, no_wrap=True)
    table.add_column("needs", no_wrap=True)
    for name in ("average", *seeds, "95 %", "relative", *beside, *(board.tasks if wide else ()), "merge s", "peak MB"):
        table.add_column(escape(on_one_line(name)), justify="right", no_wrap=True)
    for row, label in zip(board.rows, board.labels, strict=True):
        cells = [formatting.rank(row), *(formatting.ranks(row) for _ in ranges)]
        cells += [*(formatting.track(row) for _ in tracks), label, formatting.needs(row)]
        cells += [formatting.percent(row.average), *(formatting.percent(row.spread) for _ in seeds)]
        cells += [formatting.interval(row), formatting.percent(row.relative)]
        theirs = reported_average(row, published)
        cells += [formatting.percent(theirs), formatting.difference(row.average, theirs)] if beside else []
        cells += [formatting.percent(row.tasks.get(t)) for t in board.tasks] if wide else []
        cells += [formatting.seconds(row), formatting.megabytes(row)]
        table.add_row(*(Text(on_one_line(cell)) for cell in cells), style="dim" if row.role != "method" else None)
    return table
