"""A page per task: its card, its test images where they may be shown, and every method's accuracy on it."""

from collections.abc import Sequence
from typing import Any

from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.site.known import Known, TaskFacts, sheet_path, task_path
from mergebench.leaderboard.site.views import board_title, row_link

# A board, and its rows with their labels.
Named = tuple[Board, Sequence[tuple[Row, str]]]


def task_pages(boards: Sequence[Board], known: Known) -> dict[str, tuple[str, dict]]:
    """Path of each page -> its template and what that is filled with.

    Args:
        boards: of all results.
        known: the cards; a task that is not among them has its results alone.
    """
    there = dict.fromkeys(task for board in boards for task in board.tasks)
    named = [(board, list(zip(board.rows, board.labels, strict=True))) for board in boards]
    return {task_path(task): ("task.html", _facts(task, named, known)) for task in there}


def _facts(task: str, named: Sequence[Named], known: Known) -> dict[str, Any]:
    card = known.tasks.get(task, TaskFacts(title=task))
    return {
        "name": task,
        "title": card.title,
        "facts": card.facts,
        "classes": card.classes,
        "sheet": f"../{sheet_path(task, card.edition)}" if card.sheet else "",
        "note": card.note,
        "results": [_results(task, board, rows) for board, rows in named if task in board.tasks],
    }


def _results(task: str, board: Board, rows: Sequence[tuple[Row, str]]) -> dict[str, Any]:
    scored = sorted(((r, label) for r, label in rows if task in r.tasks), key=lambda pair: -pair[0].tasks[task])
    return {
        "board": board_title(board),
        "images": board.totals[task],
        "rows": [
            {
                "label": label,
                "link": row_link(board, row),
                "reference": row.role != "method",
                "track": formatting.track(row),
                "accuracy": formatting.percent(row.tasks[task]),
                "average": formatting.percent(row.average),
            }
            for row, label in scored
        ],
    }
