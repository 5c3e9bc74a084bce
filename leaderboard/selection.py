"""Which board, and which row of it, somebody means."""

import re
from collections.abc import Sequence

import yaml

from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.labels import told_apart


def only_board(boards: Sequence[Board]) -> Board:
    """The one board that there is.

    Raises:
        MergebenchError: there are several, or none.
    """
    if len(boards) == 1:
        return boards[0]
    there = "; ".join(board.name for board in boards)
    if not there:
        raise MergebenchError("no results that make a board")
    raise MergebenchError(f"several boards: say which with --suite, --zoo or --only; there are: {there}")


def pick(board: Board, text: str, track: str | None = None) -> Row:
    """The row of a board that `METHOD`, or `METHOD:NAME=VALUE,NAME=VALUE`, names.

    Args:
        board: whose rows.
        text: the method, and settings that its row has.
        track: of which the row is to be; of any, if not given. References are of none.

    Raises:
        UnknownNameError: no such method.
        MergebenchError: none of its rows has these settings, or several have.
    """
    method, _, settings = text.partition(":")
    of_method = [row for row in board.rows if row.method == method]
    if not of_method:
        raise UnknownNameError("method on this board:", method, [row.method for row in board.rows])
    rows = [row for row in of_method if track in (None, row.track) or row.role != "method"]
    if not rows:
        there = ", ".join(dict.fromkeys(row.track for row in of_method))
        raise MergebenchError(f"{method}: no row of the {track} track, but of: {there}")
    # Commas stand in lists, too: one that ends a setting has the next one's name behind it.
    wanted = [item.partition("=") for item in re.split(r",(?=\s*\w+=)", settings)] if settings else []
    found = [r for r in rows if all(equals and _has(r, name.strip(), value) for name, equals, value in wanted)]
    # What stands in both tracks is one row for whoever compares.
    found = list({repr(sorted(r.hyperparameters.items())): r for r in reversed(found)}.values())
    if len(found) == 1:
        return found[0]
    # Beside its own rows alone, each tells all that parts it from the others.
    labels = told_apart([row.named for row in rows])
    there = "; ".join(f"{label}, {row.track}" for label, row in zip(labels, rows, strict=True))
    if found:
        parted = len({row.track for row in found}) == len(found)
        how = f"say which by settings, as {method}:NAME=VALUE" + ", or by --track" * parted
        raise MergebenchError(f"{text}: several rows; {how}; there are: {there}")
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
