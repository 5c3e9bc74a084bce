"""Which layout shows what was measured, and the tables that follow."""

from collections.abc import Callable, Sequence

from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.leaderboard.board import Board
from mergebench.leaderboard.series import Series
from mergebench.leaderboard.tables import several
from mergebench.leaderboard.tables.boards import backbone_grid, board_grid
from mergebench.leaderboard.tables.choosing import ALL, KINDS, Wishes
from mergebench.leaderboard.tables.grid import Grid

# name -> the axes that it needs, and what it makes of a series that has them
SERIES: dict[str, tuple[tuple[str, ...], Callable[[Series, Wishes], Grid | list[Grid]]]] = {
    "scale": (("tasks",), several.scale),
    "unseen": (("held_out",), several.unseen),
    "corruptions": (("corruption",), several.corruptions),
    "sequential": (("order", "step"), several.sequential),
    "experts": (("expert",), several.experts),
    "points": ((), several.points),
}
BOARDS = ("tasks", "backbones")


def make_grids(
    boards: Sequence[Board], series: Sequence[Series], wishes: Wishes, layout: str | None = None
) -> list[Grid]:
    """All tables of these boards and series.

    Args:
        boards, series: what was measured.
        wishes: rows, columns and how they are shown.
        layout: of `BOARDS` or `SERIES`; without it what the axes ask for, and boards of several zoos side by side.

    Raises:
        MergebenchError: a layout that does not fit any of them, or a row or column that there is not.
    """
    grids = []
    if layout is None or layout in BOARDS:
        grids += _of_boards(boards, wishes, layout)
    if layout is None or layout in SERIES:
        grids += [grid for one in series for grid in _of_series(one, wishes, layout)]
    if not grids:
        there = [f"{b.suite} on {b.zoo} (tasks)" for b in boards] + [
            f"{s.name} on {s.zoo} ({_usual(s)})" for s in series
        ]
        asked = f"--layout {layout}: shows" if layout else "no layout shows"
        raise MergebenchError(f"{asked} none of what there is; there are: {', '.join(there)}")
    for name in grids[0].absent:
        if all(name in grid.absent for grid in grids):
            raise UnknownNameError("row", name, {*KINDS}.union(*(grid.known for grid in grids)))
    if not any(grid.rows for grid in grids):
        track = f" of the {wishes.track} track; all tracks are shown without --track" * (wishes.track != ALL)
        raise MergebenchError(f"no row {' or '.join(wishes.rows)}{track}")
    return [grid for grid in grids if grid.rows]


def _of_boards(boards: Sequence[Board], wishes: Wishes, layout: str | None) -> list[Grid]:
    if layout == "backbones" and boards:
        return [backbone_grid(boards, wishes)]
    zoos = {board.zoo for board in boards}
    sizes = [{len(b.tasks) for b in boards if b.zoo == zoo} for zoo in sorted(zoos)]
    if layout is None and len(zoos) > 1 and all(size == sizes[0] for size in sizes):
        return [backbone_grid(boards, wishes)]
    return [board_grid(board, wishes) for board in boards]


def _of_series(series: Series, wishes: Wishes, layout: str | None) -> list[Grid]:
    name = layout or _usual(series)
    axes, make = SERIES[name]
    if not set(axes) <= set(series.axes):
        return []
    made = make(series, wishes)
    return made if isinstance(made, list) else [made]


def _usual(series: Series) -> str:
    """The first layout whose axes are the series'; what a study varies beside them is shown point by point."""
    fits = {"corruptions": {"corruption", "severity"}}
    for name, (axes, _) in SERIES.items():
        if axes and set(axes) <= set(series.axes) <= fits.get(name, set(axes)):
            return name
    return "points"
