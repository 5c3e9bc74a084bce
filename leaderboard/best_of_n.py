"""What a search had found after n trials: a panel for every method, and the numbers behind it."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from mergebench.errors import on_one_line
from mergebench.leaderboard.media import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Study (its seed) -> after each trial, the best accuracy on the validation split so far; None before one succeeded.
Curves = Mapping[int, Sequence[float | None]]
ACROSS = 4  # panels beside each other


def middle(curves: Curves) -> list[tuple[float, float, float] | None]:
    """The studies' lowest, median and highest best after each number of trials; None where one has none yet.

    These are the searches as they went. The expected best of n settings (Dodge et al., arXiv:1909.03004) would reorder
    trials, which holds for settings drawn independently; a sampler's later trials rest on its earlier ones.

    Args:
        curves: of one method's studies; a study that ended early stays where it was.
    """
    length = max(map(len, curves.values()))
    after = [[curve[min(n, len(curve) - 1)] for curve in curves.values()] for n in range(length)]
    return [None if None in values else (min(values), median(values), max(values)) for values in after]


def best_csv(found: Mapping[str, Curves]) -> str:
    """All curves, a line for every method, study and number of trials.

    Args:
        found: method -> its studies' curves, as fractions.
    """
    rows = [
        [method, seed, number, "" if best is None else f"{best:.6f}"]
        for method, curves in found.items()
        for seed, curve in curves.items()
        for number, best in enumerate(curve, start=1)
    ]
    return csv_text([["method", "seed", "trials", "best"], *rows])


def draw_best(found: Sequence[tuple[str, Curves]]) -> "Figure":
    """The median study as a line and all studies as a band, over the number of trials; the first trial is the default.

    Args:
        found: title and studies' curves, as fractions, of each method.

    Returns:
        A matplotlib figure, a panel for every method with a scale of its own.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(ACROSS, len(found))
    rows = math.ceil(len(found) / columns)
    # Titles are other people's: what stands between dollars in them is no formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(0.6 + 2.7 * columns, 0.6 + 2.1 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, (title, curves) in zip(panels, found, strict=False):
            shown = [(n, *ends) for n, ends in enumerate(middle(curves), start=1) if ends is not None]
            if shown:
                trials, low, line, high = (list(part) for part in zip(*shown, strict=True))
                low, line, high = ([100 * value for value in part] for part in (low, line, high))
                panel.fill_between(trials, low, high, step="mid", color="#0072B2", alpha=0.2, linewidth=0)
                panel.step(trials, line, where="mid", color="#0072B2", linewidth=1.5)
                panel.axhline(line[0], color="#6f7580", linestyle=":", linewidth=1)
            panel.set_title(on_one_line(title), fontsize=9)
            panel.tick_params(labelsize=8)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.grid(alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)
        for panel in panels[len(found) :]:
            panel.set_visible(False)
        figure.supxlabel("trials; the first is the default (dotted)", fontsize=9)
        figure.supylabel("best so far, validation accuracy in %", fontsize=9)
    return figure
