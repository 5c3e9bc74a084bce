"""Pictures of the kept runs: peak memory and processor seconds, by experts or by images, a column for each family."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from mergebench.catalogue import registry
from mergebench.merging.method import MethodCard

Kept = dict[str, Any]  # a run as `plan.Record` holds it

MEASURES = {"models": "peak memory in models", "processor_seconds": "processor seconds"}
COLUMNS = ("data-free, entry by entry", "data-free, matrix by matrix", "calibration images", "test images")
COLORS = pyplot.get_cmap("tab10").colors
MARKERS = "osD^vP*Xp"  # one fewer than colours: ninety methods of a column differ


def look(number: int) -> tuple[Any, str]:
    """The colour and the marker of a column's method."""
    return COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]


def by_matrix(card: MethodCard) -> bool:
    """Whether a method's card says that it decomposes, solves or multiplies matrices."""
    return any(word in card.cost for word in ("SVD", "a solve", "a matrix"))


def column_of(method: str) -> str:
    """The column that a method is drawn in."""
    card = registry.method(method)
    if card.needs.family == "data-free":
        return COLUMNS[by_matrix(card)]
    return COLUMNS[2 + card.needs.test_inputs]


def curve(axes: Axes, runs: list[Kept], along: str, measure: str, number: int) -> None:
    """One method's runs; one that was ended is an arrow that begins where it was."""
    color, marker = look(number)
    runs = sorted((run for run in runs if measure in run), key=lambda run: run[along])
    places = [(run[along], run[measure], run["ended"]) for run in runs]
    axes.plot([x for x, _, _ in places], [y for _, y, _ in places], color=color, lw=1)
    for shown, size, was_ended in ((marker, 4, False), ("$\\uparrow$", 9, True)):
        chosen = [(x, y) for x, y, ended in places if bool(ended) == was_ended]
        axes.plot([x for x, _ in chosen], [y for _, y in chosen], color=color, ls="", marker=shown, ms=size)


def plain(axes: Axes, ticks: list[int]) -> None:
    """Logarithmic axes that are labelled with plain numbers."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    low, high = axes.get_ylim()
    steps = (1, 2, 5) if high / low < 100 else (1,)
    marks = [step * 10**power for power in range(-1, 5) for step in steps]
    axes.set_yticks(marks, labels=[f"{mark:g}" for mark in marks])
    axes.set_ylim(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, lw=0.3)
    axes.tick_params(labelsize=7)


def draw(runs: list[Kept], along: str, label: str, path: Path) -> None:
    """Write a picture as SVG.

    Args:
        runs: those that it shows.
        along: what they are drawn by: "experts" or "images".
        label: that in words.
        path: where to.
    """
    names = [name for name in registry.methods() if any(run["method"] == name for run in runs)]
    columns = {title: own for title in COLUMNS if (own := [n for n in names if column_of(n) == title])}
    ticks = sorted({run[along] for run in runs})
    # Text stays text, and nothing in the file changes unless what is drawn does.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "real-size", "font.size": 8}):
        figure, grid = pyplot.subplots(
            2, len(columns), figsize=(0.6 + 2.6 * len(columns), 6.8), squeeze=False, sharey="row", layout="constrained"
        )
        for (title, members), (above, below) in zip(columns.items(), grid.T, strict=True):
            for number, name in enumerate(members):
                for axes, measure in zip((above, below), MEASURES, strict=True):
                    curve(axes, [run for run in runs if run["method"] == name], along, measure, number)
            looks = map(look, range(len(members)))
            handles = [pyplot.Line2D([], [], color=color, marker=marker, ms=4, lw=1) for color, marker in looks]
            below.legend(handles, members, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
            above.set_title(title, fontsize=9)
            below.set_xlabel(label)
        for row, words in zip(grid, MEASURES.values(), strict=True):
            row[0].set_ylabel(words)
            for axes in row:
                plain(axes, ticks)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
