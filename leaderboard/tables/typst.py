"""A grid in Typst: a figure with a table that looks as booktabs' do."""

from collections.abc import Iterator

from mergebench.errors import on_one_line
from mergebench.leaderboard.media import for_typst
from mergebench.leaderboard.tables.grid import BEST, SECOND, Cell, Column, Grid, shown
from mergebench.leaderboard.tables.room import letters

# Letters across a page of text that each size has room for, about.
SIZES = ((78, 1.0), (87, 0.9), (98, 0.8), (112, 0.7), (130, 0.6))
WRAP = {BEST: "strong(%s)", SECOND: "underline(%s)"}


def typst(grid: Grid) -> str:
    """The figure, to be read with `#include`."""
    return "\n".join(_lines(grid)) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    aligned = ", ".join("left" if column.unit == "text" else "right" for column in grid.columns)
    yield from (f"// {on_one_line(note)}" for note in grid.notes)
    yield "#figure("
    yield f"  caption: {for_typst(grid.caption)},"
    size = next((size for room, size in SIZES if letters(grid) <= room), 0.5)
    yield f"  text(size: {size}em, table("
    yield f"    columns: {len(grid.columns) + 1},"
    yield f"    align: (left, {aligned}),"
    yield "    stroke: none,"
    yield "    inset: (x: 0.4em, y: 0.3em),"
    yield "    table.hline(),"
    yield from _header(grid)
    yield "    table.hline(stroke: 0.5pt),"
    for row, ends in grid.ruled:
        cells = [_cell(cell, column, grid.digits) for cell, column in zip(row.cells, grid.columns, strict=True)]
        yield f"    {', '.join([for_typst(row.label), *cells])},"
        if ends:
            yield "    table.hline(stroke: 0.5pt),"
    yield "    table.hline(),"
    yield "  )),"
    yield "  kind: table,"
    yield ")"


def _header(grid: Grid) -> Iterator[str]:
    heads = ", ".join(for_typst(column.name) for column in grid.columns)
    above, rules, place = [], [], 1
    for name, width in grid.groups:
        above.append(f"table.cell(colspan: {width}, align: center, {for_typst(name)})")
        if name:
            rules.append(f"table.hline(start: {place}, end: {place + width}, stroke: 0.5pt)")
        place += width
    grouped = f'"", {", ".join([*above, *rules])}, ' if rules else ""
    yield f"    table.header({grouped}{for_typst(grid.stub)}, {heads}),"


def _cell(cell: Cell, column: Column, digits: int) -> str:
    text, spread = shown(cell, column, digits)
    told = WRAP.get(cell.mark, "%s") % for_typst(text if cell.value is None else text.replace("-", "\u2212"))
    parts = [told, *['super("†")'] * cell.close, *[f'text(size: 0.8em, " ± {spread}")'] * bool(spread)]
    return " + ".join(parts)
