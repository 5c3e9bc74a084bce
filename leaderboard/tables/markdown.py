"""A grid in Markdown, as GitHub shows it."""

from mergebench.leaderboard.media import for_markdown
from mergebench.leaderboard.tables.grid import BEST, SECOND, Cell, Column, Grid, shown

WRAP = {BEST: "**%s**", SECOND: "<ins>%s</ins>"}


def markdown(grid: Grid) -> str:
    """Title, table, and what its marks mean."""
    rules = ["---", *("---" if column.unit == "text" else "---:" for column in grid.columns)]
    table = [[for_markdown(head, cell=True) for head in (grid.stub, *grid.heads)], rules]
    for row in grid.rows:
        cells = [_cell(cell, column, grid.digits) for cell, column in zip(row.cells, grid.columns, strict=True)]
        table.append([for_markdown(row.label, cell=True), *cells])
    parts = [f"**{for_markdown(grid.title)}**", "\n".join(f"| {' | '.join(line)} |" for line in table)]
    parts += [for_markdown(" ".join(grid.key))] if grid.key else []
    return "\n\n".join([*parts, *map(for_markdown, grid.notes)]) + "\n"


def _cell(cell: Cell, column: Column, digits: int) -> str:
    text, spread = shown(cell, column, digits)
    told = WRAP.get(cell.mark, "%s") % for_markdown(text, cell=True)
    return f"{told}{'†' if cell.close else ''}{f' ± {spread}' if spread else ''}"
