"""The accuracies on the way from one model to another, as a CSV file and a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.weights.writing import writing
from mergebench.zoo.inspection.panels import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mergebench.running.interpolation import Path as Line


def write_path(folder: Path, line: "Line", ends: Sequence[str]) -> tuple[Path, Path]:
    """Write `path.csv` and `path.png`; each appears whole.

    Args:
        folder: where.
        line: what was found.
        ends: what the two models are called.

    Returns:
        The two files.
    """
    table, picture = folder / "path.csv", folder / "path.png"
    with writing(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = [(f"{s:.6g}", *(f"{a:.6g}" for a in row)) for s, row in zip(line.shares, line.accuracies, strict=True)]
        csv.writer(file).writerows([(f"share_of_{ends[1]}", *line.tasks), *rows])
    with writing(picture) as temporary, temporary.open("wb") as file:
        draw_path(line, ends).savefig(file, format="png", dpi=110)
    return table, picture


def draw_path(line: "Line", ends: Sequence[str]) -> "Figure":
    """A line for each task, their mean in black."""
    from matplotlib.figure import Figure

    figure, panel = Figure(figsize=(8, 5), layout="constrained"), path_panel(line, ends)
    axes = figure.subplots()
    panel.plot(axes)
    axes.set_title(panel.title)
    return figure


def path_panel(line: "Line", ends: Sequence[str]) -> Panel:
    """The picture, and what is seen on it."""

    def plot(axes: "Axes") -> None:
        import matplotlib

        for place, task in enumerate(line.tasks):
            axes.plot(line.shares, 100 * line.accuracies[:, place], marker=".", label=task)
        ink = matplotlib.rcParams["text.color"]
        axes.plot(line.shares, 100 * line.accuracies.mean(1), color=ink, linewidth=2, label="mean")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [ends[0], "25 %", "50 %", "75 %", ends[1]])
        axes.set_ylabel("accuracy on validation images, %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=2)

    first, last = (100 * line.accuracies.mean(1)[end] for end in (0, -1))
    worst = max(range(len(line.tasks)), key=lambda place: line.barriers[place])
    return Panel(
        "path",
        f"from {ends[0]} to {ends[1]}, in a straight line",
        f"Accuracy of models on the straight line from {ends[0]} to {ends[1]}, on validation images; the thick line is "
        "the mean over tasks. Where a line dips below the one between its ends, there is a barrier.",
        f"A line for each of {len(line.tasks)} tasks; their mean goes from {first:.1f} to {last:.1f} %, and the "
        f"largest barrier is {line.tasks[worst]}'s, {100 * line.barriers[worst]:.1f} points.",
        plot,
    )
