"""Put all methods on all twenty tasks where the project shows them: docs/board-20.md and its CSV files.

Usage: python benchmarks/paste_twenty.py RUNS      # the folder of results that the page's command leaves
"""

import argparse
from pathlib import Path

from marks import pasted
from orders import orders
from paste_board import COLUMNS, ROOT, in_markdown, printed, with_spread

from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row, make_boards
from mergebench.leaderboard.tracks import PUBLISHED, TUNED
from mergebench.measuring.results import ResultStore

SUITE, PAGE = "tiny-20", ROOT / "docs/board-20.md"


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
    board = next(b for b in make_boards(ResultStore(out).all()) if (b.suite, b.zoo, b.variant) == (SUITE, "tiny", ""))
    page = PAGE.read_text(encoding="utf-8")
    for mark, text in {"both": both(board), "orders": orders(board)}.items():
        page = pasted(page, mark, text) or page
    PAGE.write_text(page, encoding="utf-8")
    for track in (TUNED, PUBLISHED):
        text = printed(f"table --format csv --track {track} --columns {COLUMNS}", out, SUITE)
        (ROOT / f"docs/{SUITE}-{track}.csv").write_text(text, encoding="utf-8")
        rows = [row for row in board.rows if row.role == "method" and row.track == track]
        print(f"{track}: {len(rows)} methods, {minutes(rows)} minutes of merging")


if __name__ == "__main__":
    main()
