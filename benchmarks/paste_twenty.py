"""Put all methods on all twenty tasks where the project shows them: docs/board-20.md and its CSV files.

Usage: python benchmarks/paste_twenty.py RUNS      # the folder of results that the page's command leaves
"""

import argparse
from pathlib import Path

from orders import orders
from paste_board import board_of, in_markdown, paste, with_spread, write_csv

from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.tracks import PUBLISHED, TUNED

SUITE = "tiny-20"


def both(board: Board) -> str:
    """A line for every method: under the settings that were chosen for eight of the tasks, and under published ones."""
    published = {row.method: row for row in board.rows if row.track == PUBLISHED}
    chosen = {row.method: row for row in board.rows if row.track == TUNED}
    # What has nothing to choose is under either track what it is under the other.
    rows = [row for row in board.rows if row.role != "method" or row.track == TUNED or row.method not in chosen]
    header = ["#", "ranks", "method", "needs", "chosen", "95 %", "relative", "published", "#, published"]
    header += ["merge s", "peak MB"]
    lines = []
    for row in sorted(rows, key=lambda row: (row.role == "method", -(row.average or 0))):
        other = published.get(row.method) if row.role == "method" else None
        cells = [formatting.rank(row), formatting.ranks(row), row.title, formatting.needs(row), with_spread(row)]
        cells += [formatting.interval(row), formatting.percent(row.relative)]
        cells += [formatting.percent(other.average) if other else "-", formatting.rank(other) if other else "-"]
        lines.append([*cells, formatting.seconds(row), formatting.megabytes(row)])
    return in_markdown(header, lines)


def minutes(rows: list[Row]) -> str:
    """What the merges of some rows took together."""
    return f"{sum(row.seconds or 0 for row in rows) / 60:.0f}"


def main() -> None:
    """Replace what stands between the marks, and write the CSV files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of results")
    out = parser.parse_args().out
    board = board_of(out, SUITE)
    paste("docs/board-20.md", {"both": both(board), "orders": orders(board)})
    write_csv(out, SUITE)
    for track in (TUNED, PUBLISHED):
        rows = [row for row in board.rows if row.role == "method" and row.track == track]
        print(f"{track}: {len(rows)} methods, {minutes(rows)} minutes of merging")


if __name__ == "__main__":
    main()
