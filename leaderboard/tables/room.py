"""How much room a grid takes on a page, so that a format can choose its letters' size."""

from mergebench.leaderboard.tables.grid import Grid, shown


def letters(grid: Grid, turned: bool = False) -> int:
    """The letters of a table's width, blanks between columns counted.

    Args:
        grid: the table.
        turned: whether the columns' headers stand upright.
    """
    total, place = max([len(grid.stub), *(len(row.label) for row in grid.rows)]), 0
    for name, width in grid.groups:
        columns = sum(_letters(grid, place + i, turned) for i in range(width))
        total += max(columns, *(len(line) + 2 for line in lines(name)))
        place += width
    return total


def lines(group: str) -> list[str]:
    """A group's header, a line for every part, as it may stand over narrow columns."""
    first, *others = group.split(", ")
    return [f"{line}," for line in (first, *others[:-1])] + others[-1:] if others else [first]


def _letters(grid: Grid, place: int, turned: bool) -> int:
    column = grid.columns[place]
    head = 2 if turned else len(column.name) + 1
    return max([head, *(len("".join(shown(row.cells[place], column, grid.digits))) + 2 for row in grid.rows)])
