"""Boards as grids: one board, methods by tasks; or several, a group of columns for every zoo."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from mergebench.errors import MergebenchError
from mergebench.leaderboard import formatting, tracks
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.reported_numbers import Reported, reported_average, reported_of
from mergebench.leaderboard.tables.choosing import Entry, Field, Wishes
from mergebench.leaderboard.tables.draft import draft
from mergebench.leaderboard.tables.grid import Cell, Column, Grid

PUBLISHED = ("reported", "difference")
Of = Callable[[Row], Cell]


def board_grid(board: Board, wishes: Wishes) -> Grid:
    """Methods by tasks, and their average.

    Raises:
        MergebenchError: a row or a column that there is not.
    """
    _check_published([board], wishes)
    images = sum(board.totals.values())
    title = f"{board.suite} on {board.zoo}: {len(board.tasks)} tasks, {images:,} test images"
    entries = [_entry(row, row.average, row) for row in board.rows if row.error is None or row.average is not None]
    fields = [Field(column, keys, of) for column, keys, of in _fields(board)]
    name = f"{board.suite}-{board.zoo}"
    return draft(
        name,
        title,
        entries,
        fields,
        ("tasks", "average"),
        wishes,
        notes=[_note(board, wishes), *_failed(board)],
        over=_over([board]),
    )


def backbone_grid(boards: Sequence[Board], wishes: Wishes) -> Grid:
    """Methods by zoos: a group of columns for each, in it the average of every suite, or what else is asked for.

    Zoos stand in the order in which they are given, suites by their number of tasks.

    Raises:
        MergebenchError: a row or a column that there is not.
    """
    _check_published(boards, wishes)
    zoos = list(dict.fromkeys(board.zoo for board in boards))
    boards = sorted(boards, key=lambda board: len(board.tasks))
    suites = list(dict.fromkeys(board.suite for board in boards))
    where = {(b.zoo, b.suite): b for b in boards}
    # Settings may be a backbone's own; they part rows only where one board has several of a method.
    counted = [Counter(map(_kind, board.rows)) for board in boards]
    several = {kind for counts in counted for kind, count in counts.items() if count > 1}
    found: dict[tuple, dict[tuple[str, str], Row]] = {}
    for place, board in where.items():
        for row in board.rows:
            told = repr(sorted(row.hyperparameters.items())) if _kind(row) in several else ""
            if row.average is not None:
                found.setdefault((*_kind(row), told), {})[place] = row
    entries = []
    for (*_, told), rows in found.items():
        first = next(iter(rows.values()))
        average = fmean(r.average or 0.0 for r in rows.values()) if len(rows) == len(where) else None
        entries.append(_entry(first, average, rows, settings=bool(told)))
    sizes = {board.suite: f"{len(board.tasks)} tasks" for board in boards}
    names = sizes if len(set(sizes.values())) == len(suites) else {suite: suite for suite in suites}
    stated = {board.zoo: board.checkpoints.get("backbone") or board.zoo for board in boards}
    headers = stated if len(set(stated.values())) == len(zoos) else {zoo: zoo for zoo in zoos}
    fields = [Field(Column("track", unit="text"), ("track",), lambda rows: _track(next(iter(rows.values()))))]
    for zoo in zoos:
        for suite in suites:
            board = where.get((zoo, suite))
            for column, keys, of in [f for f in _fields(board) if "track" not in f[1]] if board else []:
                label = names[suite] if len(suites) > 1 else column.name
                if len(suites) > 1 and (len(wishes.columns) > 1 or "average" not in keys):
                    label = f"{label}, {column.name}"
                shown = Column(label, headers[zoo], column.better, column.unit)
                fields.append(Field(shown, (*keys, zoo), _at((zoo, suite), of)))
    numbers = " and ".join(dict.fromkeys(str(len(b.tasks)) for b in boards))
    title = f"{' and '.join(suites)} on {len(zoos)} zoo{'s' * (len(zoos) > 1)}: averages over {numbers} tasks"
    notes = [f"{b.suite} on {b.zoo}: {told}" for b in boards for told in (_note(b, wishes), *_failed(b)) if told]
    return draft(
        "-".join([*suites, *zoos]), title, entries, fields, ("average",), wishes, notes=notes, over=_over(boards)
    )


def _note(board: Board, wishes: Wishes) -> str:
    """What a table says of a board: nothing of searches and what was given, where none of their rows stands in it."""
    return board.published_note if wishes.track == tracks.PUBLISHED else board.note


def _kind(row: Row) -> tuple[str, str, str]:
    return row.method, row.track, row.tier


def _at(place: tuple[str, str], of: Of) -> Callable[[Mapping[tuple[str, str], Row]], Cell]:
    return lambda rows: of(rows[place]) if place in rows else Cell()


def _entry(row: Row, average: float | None, source: object, settings: bool = True) -> Entry:
    told = row.hyperparameters if settings else {}
    title = f"{row.title} [{row.tier}]" if row.tier else row.title
    card = (row.method, title, row.role, row.family, row.paper)
    return Entry(*card, told, row.tuned, average, source, row.track, row.given)


def _fields(board: Board) -> list[tuple[Column, tuple[str, ...], Of]]:
    """Every column that a board can have, with the names by which it can be asked for."""
    published = reported_of(board)
    found: list[tuple[Column, tuple[str, ...], Of]] = [
        (Column(task, better=1), ("tasks", task), lambda row, task=task: _task(row, task)) for task in board.tasks
    ]
    found += [
        (Column("average", better=1), ("average",), _average),
        (Column("relative", better=1), ("relative",), lambda row: _percent(row.relative)),
        (Column("rank", unit="text"), ("rank",), lambda row: Cell(text=formatting.rank(row))),
        (Column("ranks", unit="text"), ("ranks",), lambda row: Cell(text=formatting.ranks(row))),
        (Column("track", unit="text"), ("track",), _track),
        (Column("needs", unit="text"), ("needs",), lambda row: Cell(text=formatting.needs(row))),
        (Column("seconds", unit="seconds"), ("seconds",), lambda row: Cell(row.seconds)),
        (Column("peak MB", unit="megabytes"), ("peak",), _peak),
        (Column("reported"), ("reported",), lambda row: _percent(reported_average(row, published))),
        (Column("difference", unit="points"), ("difference",), lambda row: _difference(row, published)),
    ]
    return found


def _percent(value: float | None) -> Cell:
    return Cell(None if value is None else 100 * value)


def _task(row: Row, task: str) -> Cell:
    spread = row.task_spreads.get(task)
    return Cell(100 * row.tasks[task], None if spread is None else 100 * spread) if task in row.tasks else Cell()


def _average(row: Row) -> Cell:
    spread = None if row.spread is None else 100 * row.spread
    return Cell(None if row.average is None else 100 * row.average, spread, leading=bool(row.leading))


def _track(row: Row) -> Cell:
    return Cell(text=formatting.track(row))


def _peak(row: Row) -> Cell:
    return Cell(None if row.peak_bytes is None else row.peak_bytes / 1e6)


def _difference(row: Row, published: Reported | None) -> Cell:
    theirs = reported_average(row, published)
    return Cell() if theirs is None or row.average is None else _percent(row.average - theirs)


def _check_published(boards: Sequence[Board], wishes: Wishes) -> None:
    asked = next((name for name in PUBLISHED if name in wishes.columns), None)
    if asked and not any(map(reported_of, boards)):
        told = " and ".join(f"{len(b.tasks)} tasks of zoo {b.zoo!r}" for b in boards)
        raise MergebenchError(
            f"column {asked!r}: no published averages of the same checkpoints are known for {told}; a zoo's file "
            "states its family (docs/models.md), numbers of other checkpoints are not set beside"
        )


def _failed(board: Board) -> list[str]:
    return [f"{row.title} failed: {row.error}." for row in board.rows if row.average is None]


def _over(boards: Sequence[Board]) -> str:
    """Over how many seeds the standard deviations are."""
    numbers = sorted({len(row.seeds) for board in boards for row in board.rows if row.spread is not None})
    return f"{' to '.join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))} seeds" if numbers else "seeds"
