"""The critical-difference diagram's numbers, computed anew only where the accuracies are others."""

import hashlib
import json
from typing import Any

import numpy as np

from mergebench.errors import on_one_line
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.critical_difference import FEWEST, rank_test
from mergebench.leaderboard.site.scripts import as_script
from mergebench.leaderboard.tracks import GIVEN, stands_twice

MOST = 80  # names that a picture can hold


def ranking_script(board: Board, name: str, kept: bytes) -> bytes:
    """The script that holds mean ranks over tasks and Nemenyi's critical difference.

    The test takes a second to load, so what was computed of the same accuracies is kept: the file's first line tells.

    Args:
        board: whose methods.
        name: what the data are asked for by.
        kept: the file as it was written before; nothing, if it was not.
    """
    named = zip(board.labels, board.rows, strict=True)
    rows = [(on_one_line(label), row) for label, row in named if _counts(row, board)]
    accuracies = [[row.tasks[task] for task in board.tasks] for _, row in rows]
    inputs = json.dumps([name, [label for label, _ in rows], accuracies])
    first = f"// {hashlib.sha256(inputs.encode()).hexdigest()}\n".encode()
    if kept.startswith(first):
        return kept
    return first + as_script(name, _ranking([label for label, _ in rows], accuracies)).encode()


def _counts(row: Row, board: Board) -> bool:
    ranked = row.role == "method" and row.track != GIVEN
    return ranked and not stands_twice(row, board.rows) and set(board.tasks) <= set(row.tasks)


def _ranking(named: list[str], accuracies: list[list[float]]) -> dict[str, Any] | None:
    if not FEWEST[0] <= len(named) <= MOST or len(accuracies[0]) < FEWEST[1]:
        return None
    test = rank_test(named, np.array(accuracies))
    return {
        "labels": list(test.labels),
        "ranks": list(test.ranks),
        "p": test.p,
        "distance": test.distance,
        "tasks": test.tasks,
        "alike": [list(ends) for ends in test.alike],
    }
