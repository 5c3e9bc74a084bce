"""Put measured tables into docs/results.md, between the marks that name them; the words around them are people's.

Usage: python benchmarks/paste_results.py build/protocols/*      # folders of results, as suite_cost.py leaves them
"""

import argparse
from pathlib import Path

from marks import pasted

from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, make_boards
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.series_table import markdown
from mergebench.measuring.results import Result, ResultStore

PAGE = Path(__file__).parent.parent / "docs" / "results.md"


def of_board(board: Board) -> str:
    """A board's averages as a Markdown table."""
    lines = ["| # | method | average | 95 % interval | relative |", "|---:|---|---:|---:|---:|"]
    for row, label in zip(board.rows, board.labels, strict=True):
        cells = [formatting.rank(row), label, formatting.percent(row.average), formatting.interval(row)]
        lines.append("| " + " | ".join([*cells, formatting.percent(row.relative)]) + " |")
    return "\n".join(lines)


def tables(results: list[Result]) -> dict[str, str]:
    """Suite or study -> its tables, for everything that has results."""
    found = {board.suite: of_board(board) for board in make_boards(r for r in results if not (r.point or r.study))}
    for series in make_series(results):
        # Its first line is a heading of its own; the headings below stand under the page's.
        found[series.name] = markdown(series).partition("\n")[2].strip().replace("\n## ", "\n### ")
    return found


def main() -> None:
    """Replace what stands between the marks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of results")
    text = PAGE.read_text(encoding="utf-8")
    for folder in parser.parse_args().folders:
        for name, table in tables(list(ResultStore(folder).all())).items():
            done = pasted(text, name, table)
            print(f"{name}: from {folder}" if done else f"{name}: left out; the page has no <!-- {name} --> around it")
            text = done or text
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
