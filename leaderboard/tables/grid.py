"""A table as data: what stands where, what is best and second; how it is written is each format's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Args:
        name: its header.
        group: the header above it, which neighbours share; empty without.
        better: 1 where more is better, -1 where less is, 0 where nothing is to be marked.
        unit: "percent" (of accuracy, or points of it), "points" (the same with a sign), "seconds", "megabytes", "text".
    """

    name: str
    group: str = ""
    better: int = 0
    unit: Literal["percent", "points", "seconds", "megabytes", "text"] = "percent"


@dataclass(frozen=True)
class Cell:
    """One number, or a text.

    Args:
        value: in the column's unit; None where nothing was measured.
        spread: its standard deviation over seeds (or orders); None where there is one.
        text: in place of a number.
        mark: "best", "second", or nothing.
        leading: whether it is not distinguishable from the best.
    """

    value: float | None = None
    spread: float | None = None
    text: str = ""
    mark: str = ""
    leading: bool = False

    @property
    def close(self) -> bool:
        """Whether it is to be marked as not distinguishable from the best; the best itself needs no such mark."""
        return self.leading and self.mark != BEST


@dataclass(frozen=True)
class GridRow:
    """One method's cells.

    Args:
        name: the method's, as the command line knows it.
        label: what people read.
        reference: whether it stands outside the competition.
        cells: one per column.
        given: whether somebody has set its settings by hand, which are not ranked.
    """

    name: str
    label: str
    reference: bool
    cells: tuple[Cell, ...]
    given: bool = False


@dataclass(frozen=True)
class Grid:
    """A whole table.

    Args:
        name: what it is of, as a file or a label may be called.
        title: a sentence for its caption.
        stub: the header of the labels.
        columns, rows: see there.
        digits: decimals of percentages and points.
        key: sentences that say what the numbers and marks mean; they belong to the caption.
        notes: sentences about these results, which belong beside it.
        absent: names of rows that were asked for, of which it has none.
        known: those that it has, asked for or not.
    """

    name: str
    title: str
    stub: str
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    digits: int = 1
    key: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()

    @property
    def caption(self) -> str:
        """The title, as a sentence, and the key."""
        return " ".join([self.title.rstrip(".") + ".", *self.key])

    @property
    def ruled(self) -> list[tuple[GridRow, bool]]:
        """The rows, each with whether a rule follows it: the references end there."""
        following = (*self.rows[1:], None)
        return [
            (row, after is not None and row.reference and not after.reference)
            for row, after in zip(self.rows, following, strict=True)
        ]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group: its header and how many they are."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found

    @property
    def heads(self) -> list[str]:
        """The columns' headers on one line, each with its group's."""
        return [f"{c.group}: {c.name}" if c.group else c.name for c in self.columns]


def number(value: float, column: Column, digits: int) -> str:
    """A value as every format shows it; what rounds to zero has no minus.

    Args:
        value: in the column's unit.
        column: whose.
        digits: decimals of percentages and points.
    """
    if column.unit in ("seconds", "megabytes"):
        digits = 2 if column.unit == "seconds" and value < 9.995 else 0
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}" if column.unit == "points" and rounded else f"{rounded:.{digits}f}"


def shown(cell: Cell, column: Column, digits: int) -> tuple[str, str]:
    """What a cell shows: its number or text, and its spread (empty without); a dash for nothing."""
    if cell.value is None:
        return cell.text or "-", ""
    spread = "" if cell.spread is None else f"{cell.spread:.{digits}f}"
    return number(cell.value, column, digits), spread


def marked(grid: Grid) -> Grid:
    """The same grid with every column's best and second marked among methods of some track.

    What is compared is what is shown: of two that read the same, neither is the better one. A method alone is no best.
    """
    rows = [list(row.cells) for row in grid.rows]
    for place, column in enumerate(grid.columns):
        there = {
            i: float(number(row.cells[place].value, column, grid.digits))
            for i, row in enumerate(grid.rows)
            if column.better and not (row.reference or row.given) and row.cells[place].value is not None
        }
        if len(there) < 2:
            continue
        best, second = _first_two([column.better * value for value in there.values()])
        for i, value in there.items():
            mark = {best: BEST, second: SECOND}.get(column.better * value, "")
            rows[i][place] = replace(rows[i][place], mark=mark)
    return replace(
        grid, rows=tuple(replace(row, cells=tuple(cells)) for row, cells in zip(grid.rows, rows, strict=True))
    )


def _first_two(values: Sequence[float]) -> tuple[float, float | None]:
    ordered = sorted(set(values), reverse=True)
    return ordered[0], ordered[1] if len(ordered) > 1 else None
