"""What a page shows, as plain data: the same for the HTML that needs no script and for the files that scripts read."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mergebench.errors import counted, on_one_line
from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.reported_numbers import (
    agreements,
    read_reported,
    reported_average,
    reported_of,
    searched_for,
)
from mergebench.leaderboard.series import Series
from mergebench.leaderboard.series_table import interval_note, tables
from mergebench.leaderboard.site.known import Known, MethodFacts, address, digest, method_path, task_path
from mergebench.leaderboard.tracks import GIVEN, PUBLISHED, stands_twice

UNRANKED = 1_000_000  # what sorts behind every rank
NOTHING = MethodFacts()


def row_id(row: Row) -> str:
    """What a link to a row says: the method, its settings and their track, whatever else the board holds."""
    settings = sorted((name, repr(value)) for name, value in row.hyperparameters.items())
    return address(f"{row.method}-{digest(repr([*settings, row.track, row.tier]))}")


def board_id(board: Board) -> str:
    """What a link to a board says."""
    return address("--".join(filter(None, (board.suite, board.zoo, board.variant))))


def board_title(board: Board) -> str:
    """What people call a board."""
    return on_one_line(f"{board.suite} on {board.zoo}" + (f", {board.variant}" if board.variant else ""))


def row_link(board: Board, row: Row) -> str:
    """A link to a row from the page of a method or task."""
    return f"../index.html#{board_id(board)}?row={row_id(row)}"


def series_id(series: Series) -> str:
    """What a link to a series says."""
    return address("--".join(filter(None, ("series", series.study, series.suite, series.zoo))))


def board_view(board: Board, known: Known) -> dict[str, Any]:
    """A board: its table, what its rows are filtered by, and the points of its pictures."""
    ranged = any(row.ranks for row in board.rows)
    several = any(row.spread is not None for row in board.rows)
    tracked = any(row.track != PUBLISHED for row in board.rows)
    published = reported_of(board)
    beside = [
        _column("reported", "reported", number=True, hint="published average of the same checkpoints"),
        _column("difference", "difference", number=True, hint="measured minus reported, in points"),
    ]
    columns = [
        _column("rank", "#", number=True, hint="rank by average among methods; references are not ranked"),
        *(
            [_column("ranks", "ranks", number=True, hint="ranks that it may have, 95 %, all rows of a track together")]
            * ranged
        ),
        *(
            [
                _column(
                    "track",
                    "track",
                    hint="published settings, those that a search has chosen, or given by hand (not ranked)",
                )
            ]
            * tracked
        ),
        _column("method", "method"),
        _column("needs", "needs", hint="what it reads besides the experts"),
        _column("average", "average", number=True, hint="mean accuracy over tasks, in %"),
        *([_column("spread", "± seeds", number=True, hint="standard deviation over seeds")] * several),
        _column("interval", "95 % interval", number=True, hint="of the average, over test images"),
        _column("relative", "relative", number=True, hint="mean of accuracies relative to each task's own expert"),
        *(beside if published else []),
        *(_task_column(task, board.totals[task], known) for task in board.tasks),
        _column("seconds", "merge s", number=True, hint="seconds that merging took"),
        _column("images", "images", number=True, hint="images that the merge was given"),
        _column("peak", "peak MB", number=True, hint="memory of merging above what was held before"),
    ]
    shades = {task: _shades(board, task) for task in board.tasks}
    keys = [column["key"] for column in columns]
    rows = [
        _row(row, label, keys, shades, known, reported_average(row, published), stands_twice(row, board.rows))
        for row, label in zip(board.rows, board.labels, strict=True)
    ]
    told = [board.note, *agreements(board)]
    return {
        "id": board_id(board),
        "kind": "board",
        "title": board_title(board),
        "summary": f"{len(board.tasks)} tasks, {sum(board.totals.values()):,} test images",
        "lead": on_one_line(formatting.leaders(board)),
        "notes": [on_one_line(sentence) for sentence in told if sentence],
        "measured": _environment(board.environment),
        "tables": [{"title": "", "columns": columns, "rows": rows}, *_published(board)],
    }


def series_view(series: Series, picture: str) -> dict[str, Any]:
    """A suite with variants, or a study: its tables, and where its picture is."""
    shown = tables(series)
    study = f"study on suite {series.suite}, " if series.study else ""
    return {
        "id": series_id(series),
        "kind": "series",
        "title": on_one_line(f"{series.name} on {series.zoo}"),
        "summary": on_one_line(f"{study}{len(series.points)} points over {', '.join(series.axes)}"),
        "lead": on_one_line(interval_note(series, shown)),
        "notes": [on_one_line(sentence) for sentence in series.notes],
        "picture": picture,
        "tables": [plain_table(table.title, table.header, table.rows) for table in shown],
    }


def plain_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """A table of texts whose first column names the rows, and whose others are sorted as numbers."""
    columns = [_column(f"c{i}", name, number=i > 0) for i, name in enumerate(header)]
    made = []
    for row in rows:
        cells = [on_one_line(cell) for cell in row]
        order = [_leading_number(cell) for cell in cells]
        made.append({"id": address(row[0]), "label": cells[0], "cells": cells, "order": order})
    return {"title": on_one_line(title), "columns": columns, "rows": made}


def _published(board: Board) -> list[dict[str, Any]]:
    """Published averages of as many tasks beside measured ones: other checkpoints, so that only the order compares."""
    measured: dict[str, tuple[str, float]] = {}
    for row, label in zip(board.rows, board.labels, strict=True):
        if row.average is not None and not searched_for(row.tuned) and not row.given:
            measured.setdefault(row.method, (label, 100 * row.average))
    sets = [one for one in read_reported() if one.tasks == len(board.tasks) and set(one.averages) & set(measured)]
    if not sets:
        return []
    columns = [_column("method", "method"), _column("measured", "measured here", number=True)]
    columns += [_column(f"c{i}", f"{one.backbone}, {one.checkpoints}", number=True) for i, one in enumerate(sets)]
    rows = []
    for method, (label, average) in measured.items():
        values = [average, *(one.averages.get(method) for one in sets)]
        if any(value is not None for value in values[1:]):
            cells = [on_one_line(label), *("-" if value is None else f"{value:.1f}" for value in values)]
            rows.append({"id": address(method), "label": cells[0], "cells": cells, "order": [cells[0], *values]})
    title = "Published averages beside measured ones (other checkpoints: compare the order, not the height)"
    return [{"title": title, "columns": columns, "rows": rows}]


def _row(
    row: Row,
    label: str,
    keys: Sequence[str],
    shades: Mapping[str, Callable[[Row], float | None]],
    known: Known,
    reported: float | None,
    twice: bool,
) -> dict[str, Any]:
    """A row as the page has it; `twice`: another one has its point in the picture."""
    facts = known.methods.get(row.method, NOTHING)
    failed = row.average is None
    shown = {
        "rank": (formatting.rank(row), row.rank or UNRANKED),
        "ranks": (formatting.ranks(row), row.ranks[0] if row.ranks else UNRANKED),
        "track": (formatting.track(row), formatting.track(row)),
        "method": (on_one_line(label), label.lower()),
        "needs": (formatting.needs(row), formatting.needs(row)),
        "average": (formatting.percent(row.average), row.average),
        "spread": (formatting.percent(row.spread), row.spread),
        "interval": (formatting.interval(row), row.interval[0] if row.interval else None),
        "relative": (formatting.percent(row.relative), row.relative),
        "reported": (formatting.percent(reported), reported),
        "difference": (formatting.difference(row.average, reported), _minus(row.average, reported)),
        "seconds": (formatting.seconds(row), row.seconds),
        "images": ("-" if row.images is None else f"{row.images:,}", row.images),
        "peak": (formatting.megabytes(row), row.peak_bytes),
    }
    shown |= {f"task {task}": (formatting.percent(row.tasks.get(task)), row.tasks.get(task)) for task in shades}
    shade = {f"task {task}": shades[task](row) for task in shades} if row.role == "method" else {}
    return {
        "id": row_id(row),
        "label": on_one_line(label),
        "page": method_path(row.method),
        "role": "failed" if failed else row.role,
        "family": "references" if row.role != "method" else row.family,
        "needs": list(row.needs),
        "fidelity": facts.fidelity,
        "year": facts.year or "",
        "track": row.track if row.role == "method" else "",
        "tier": row.tier,
        "paper": on_one_line(row.paper),
        "settings": on_one_line(", ".join(f"{k}={v}" for k, v in row.hyperparameters.items())),
        "failure": on_one_line(f"failed: {row.error}") if failed else "",
        "leading": bool(row.leading),
        "cells": [shown[key][0] for key in keys],
        "order": [shown[key][1] for key in keys],
        "heat": [shade.get(key) for key in keys],
        "point": None if failed or twice else _point(row),
    }


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _point(row: Row) -> dict[str, Any]:
    """Where a row stands in the picture of accuracy against cost."""
    low, high = row.interval or (row.average, row.average)
    costs = {"seconds": row.seconds, "images": row.images, "peak": row.peak_bytes}
    return {"average": row.average, "low": low, "high": high, **costs}


def _shades(board: Board, task: str) -> Callable[[Row], float | None]:
    """row -> how deep its cell is tinted, 0 to 1: its place between the worst and the best method of the column."""
    methods = [row for row in board.rows if row.role == "method" and row.track != GIVEN]
    column = [row.tasks[task] for row in methods if task in row.tasks]
    low, high = min(column, default=0.0), max(column, default=0.0)

    def shade(row: Row) -> float | None:
        value = row.tasks.get(task)
        return None if value is None or high == low else round(min(max((value - low) / (high - low), 0), 1), 3)

    return shade


def _column(key: str, title: str, *, number: bool = False, hint: str = "", page: str = "") -> dict[str, Any]:
    return {"key": key, "title": on_one_line(title), "number": number, "hint": on_one_line(hint), "page": page}


def _task_column(task: str, images: int, known: Known) -> dict[str, Any]:
    hint = f"accuracy on {images:,} test images, in %"
    return _column(f"task {task}", task, number=True, hint=hint, page=task_path(task))


def _environment(environment: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items() if version)
    where = [str(environment.get(part, "")) for part in ("device", "precision", "platform")]
    threads, commit = environment.get("threads"), environment.get("git_commit")
    told = ", ".join(filter(None, [*where, counted(threads, "thread") if threads else ""]))
    return on_one_line(f"Measured on {told}; {packages}" + (f"; commit {commit}" if commit else "") + ".")


def _leading_number(cell: str) -> float | str:
    """What a cell is sorted by: the number that it begins with, or its text."""
    found = re.match(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?", cell)
    return float(found.group()) if found else cell
