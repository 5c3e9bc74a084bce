"""From all that could be shown to the table that is asked for."""

from collections.abc import Sequence
from dataclasses import replace

from mergebench.errors import on_one_line
from mergebench.leaderboard.labels import Named, told_apart
from mergebench.leaderboard.tables.choosing import Entry, Field, Wishes, absent_rows, chosen_fields, chosen_rows
from mergebench.leaderboard.tables.grid import Cell, Grid, GridRow, marked
from mergebench.leaderboard.tracks import GIVEN

TRACK = "track"
LONGEST_LABEL = 200  # characters; LaTeX cannot set lines of any length
# What each kind of number means, by the key that asks for it.
MEANINGS = {
    "track": "Each track is ranked by itself; settings given by hand are not ranked.",
    "ranks": "Ranks: those that a method may have, 95 %, all methods of a track together.",
    "relative": "Relative: to each task's own expert.",
    "seconds": "Seconds: of merging.",
    "peak": "Peak MB: the most memory that the merge held above what was held before.",
    "reported": "Reported: published averages of the same checkpoints.",
    "difference": "Difference: measured minus reported, in points.",
    "unseen": "Unseen: tasks that are evaluated and not merged.",
    "backward": "Backward: accuracy at the end minus that right after a task's own step, in points.",
    "forgetting": "Forgetting: the best accuracy before the last step minus that after it, in points.",
}


def draft(
    name: str,
    title: str,
    entries: Sequence[Entry],
    fields: Sequence[Field],
    usual: Sequence[str],
    wishes: Wishes,
    *,
    notes: Sequence[str] = (),
    key: Sequence[str] = (),
    over: str = "seeds",
    stub: str = "method",
) -> Grid:
    """The grid of the rows and columns asked for, with best and second marked, and what its marks mean.

    Args:
        name, title: of the table.
        entries, fields: what may become rows and columns.
        usual: the columns' keys where none are asked for.
        wishes: what is asked for.
        notes: sentences about these results.
        key: sentences of the layout's own about its columns.
        over: what standard deviations are over.
        stub: the header of the rows' labels.

    Raises:
        UnknownNameError: a column that there is not.
    """
    names = _names(entries, fields, usual, wishes)
    columns, rows = chosen_fields(fields, names), chosen_rows(entries, wishes, TRACK in names)
    labels = told_apart([Named(e.method, e.title, e.settings, e.tuned, e.given) for e in rows])
    made = tuple(
        GridRow(
            e.method,
            on_one_line(label, LONGEST_LABEL),
            e.role != "method",
            tuple(_allowed(f, f.of(e.source), wishes) for f in columns),
            e.track == GIVEN,
        )
        for e, label in zip(rows, labels, strict=True)
    )
    told = tuple(sentence for kind, sentence in MEANINGS.items() if any(kind in f.keys for f in columns))
    grid = marked(Grid(name, title, stub, tuple(f.column for f in columns), made, wishes.digits))
    absent, known = absent_rows(entries, wishes), frozenset(n for e in entries for n in (e.method, e.family) if n)
    grid = replace(grid, absent=absent, known=known)
    return replace(grid, key=(*_marks(grid, over), *key, *told), notes=tuple(filter(None, notes)))


def _names(entries: Sequence[Entry], fields: Sequence[Field], usual: Sequence[str], wishes: Wishes) -> Sequence[str]:
    """The columns' keys: the track's before the others where ranks and marks of several stand below each other."""
    names = wishes.columns or usual
    ranked = not wishes.columns or {"rank", "ranks"} & set(names)
    tracks = {e.track for e in chosen_rows(entries, wishes, apart=True) if e.role == "method"}
    known = any(TRACK in field.keys for field in fields)
    return (TRACK, *names) if known and ranked and len(tracks) > 1 and TRACK not in names else names


def _allowed(field: Field, cell: Cell, wishes: Wishes) -> Cell:
    """The cell, with its standard deviation only where these were asked for."""
    wanted = wishes.spread == "all" or (wishes.spread == "average" and "average" in field.keys)
    return cell if wanted or cell.spread is None else replace(cell, spread=None)


def _marks(grid: Grid, over: str) -> list[str]:
    """What percentages and marks mean, as far as there are any."""
    cells = [cell for row in grid.rows for cell in row.cells]
    told = ["Accuracies in %."] if any(c.unit == "percent" for c in grid.columns) else []
    if any(cell.mark for cell in cells):
        aside = ["references"] * any(row.reference for row in grid.rows)
        aside += ["settings given by hand"] * any(row.given for row in grid.rows)
        told.append(
            f"Best in bold, second underlined{', ' * bool(aside)}{' and '.join(aside)}{' aside' * bool(aside)}."
        )
    if any(cell.close for cell in cells):
        best = "its track's best" if any(c.name == TRACK for c in grid.columns) else "the board's best"
        told.append(f"†: not distinguishable from {best} (paired tests, corrected for all pairs).")
    if any(cell.spread is not None for cell in cells):
        told.append(f"±: standard deviation over {over}.")
    return told
