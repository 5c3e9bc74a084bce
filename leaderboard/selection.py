"""Which board, and which row of it, somebody means."""

import re
from collections.abc import Sequence

import yaml

from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.leaderboard.board import Board, Row


def only_board(boards: Sequence[Board]) -> Board:
    """The one board that there is.

    Raises:
        MergebenchError: there are several, or none.
    """
    if len(boards) == 1:
        return boards[0]
    there = "; ".join(board.name for board in boards)
    if not there:
        raise MergebenchError("no results of such a suite, zoo, variant and seeds")
    raise MergebenchError(f"several boards: say which with --suite, --zoo or --only; there are: {there}")


def pick(board: Board, text: str) -> Row:
    """The row of a board that `METHOD`, or `METHOD:NAME=VALUE,NAME=VALUE`, names.

    Raises:
        UnknownNameError: no such method.
        MergebenchError: none of its rows has these settings, or several have.
    """
    method, _, settings = text.partition(":")
    rows = [row for row in board.rows if row.method == method]
    if not rows:
        raise UnknownNameError("method on this board:", method, [row.method for row in board.rows])
    # Commas stand in lists, too: one that ends a setting has the next one's name behind it.
    wanted = [item.partition("=") for item in re.split(r",(?=\s*\w+=)", settings)] if settings else []
    found = [r for r in rows if all(equals and _has(r, name.strip(), value) for name, equals, value in wanted)]
    # What stands in both tracks is one row for whoever compares.
    found = list({repr(sorted(r.hyperparameters.items())): r for r in reversed(found)}.values())
    if len(found) == 1:
        return found[0]
    there = "; ".join(map(board.label, rows))
    if found:
        raise MergebenchError(
            f"{text}: several rows; say which by settings, as {method}:NAME=VALUE; there are: {there}"
        )
    raise MergebenchError(f"{text}: no row has these settings; there are: {there}")


def _has(row: Row, name: str, text: str) -> bool:
    return name in row.hyperparameters and _is(row.hyperparameters[name], text)


def _is(value: object, text: str) -> bool:
    """Whether a setting is what was written: as Python, JSON or YAML write it."""
    if text in (str(value), str(value).lower(), repr(value)) or (value is not None and _number(text) == value):
        return True
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return type(read) is type(value) and read == value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
