"""A grid as CSV: numbers for other programs, without marks."""

from mergebench.leaderboard.media import csv_text
from mergebench.leaderboard.tables.grid import Grid, number


def csv_file(grid: Grid) -> str:
    """A row per method: its name and label, then every column, with standard deviations in columns of their own.

    A column `leading` says what is not distinguishable from the best, where that is known.
    """
    spreads = [any(row.cells[i].spread is not None for row in grid.rows) for i in range(len(grid.columns))]
    leading = any(cell.leading for row in grid.rows for cell in row.cells)
    header = ["method", "title"] if grid.stub == "method" else [grid.stub, "title"]
    for head, spread in zip(grid.heads, spreads, strict=True):
        header += [head, f"{head} std"] if spread else [head]
    rows = [header + ["leading"] * leading]
    for row in grid.rows:
        cells = [row.name, row.label]
        for cell, column, spread in zip(row.cells, grid.columns, spreads, strict=True):
            told = cell.text.strip("-") if cell.value is None else number(cell.value, column, grid.digits)
            cells.append(told.removeprefix("+"))
            if spread:
                cells.append("" if cell.spread is None else f"{cell.spread:.{grid.digits}f}")
        cells += ["yes" if any(cell.leading for cell in row.cells) else "no"] * leading
        rows.append(cells)
    return csv_text(rows)
