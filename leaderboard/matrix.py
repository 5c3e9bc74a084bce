"""The experts x tasks matrix: what a model made of one expert alone keeps of every task."""

from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from mergebench.errors import on_one_line
from mergebench.leaderboard.series import Line, Series, key_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXIS = "expert"


def matrices(series: Series) -> dict[int, dict[str, dict[str, float]]]:
    """Every method's matrix, where experts are merged one at a time.

    Returns:
        place among the series' lines -> expert -> task -> accuracy (mean over seeds), in the order of the points.
    """
    if series.axes != (AXIS,):
        return {}
    return {i: _of(series, line) for i, line in enumerate(series.lines) if line.role == "method"}


def tasks_of(matrix: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The columns: every task that any expert was evaluated on; an unfinished run may lack some in some rows."""
    return list(dict.fromkeys(task for row in matrix.values() for task in row))


def _of(series: Series, line: Line) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for variant, point in series.points.items():
        results = line.results.get(variant, ())
        tasks = results[0].tasks if results else ()
        found[str(key_of(point[AXIS]))] = {t: fmean(r.tasks[t].accuracy for r in results) for t in tasks}
    return {expert: row for expert, row in found.items() if row}


def draw_matrix(panel: "Axes", title: str, matrix: Mapping[str, Mapping[str, float]]) -> None:
    """A heat map with the numbers in it; colour is relative to each task's best, so that hard tasks show too.

    Args:
        panel: where.
        title: above it.
        matrix: expert -> task -> accuracy.
    """
    tasks = tasks_of(matrix)
    best = {t: max(row.get(t, 0.0) for row in matrix.values()) for t in tasks}
    shade = [[row.get(t, 0.0) / best[t] if best[t] else 0.0 for t in tasks] for row in matrix.values()]
    panel.imshow(shade, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for i, row in enumerate(matrix.values()):
        for j, task in enumerate(tasks):
            dark = shade[i][j] > 0.8
            told = f"{100 * row[task]:.0f}" if task in row else "-"
            panel.text(j, i, told, ha="center", va="center", fontsize=8, color="w" if dark else "k")
    panel.set_xticks(range(len(tasks)), map(on_one_line, tasks), rotation=45, ha="right")
    panel.set_yticks(range(len(matrix)), map(on_one_line, matrix))
    panel.set_xlabel("accuracy in % on task")
    panel.set_ylabel("expert of task")
    panel.set_title(title, fontsize=10)
