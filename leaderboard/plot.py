"""A series as a picture: one line per method over the axis that varies."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mergebench.errors import on_one_line
from mergebench.leaderboard.matrix import draw_matrix, matrices
from mergebench.leaderboard.series import Series, across, intervals_of, values_of
from mergebench.weights.writing import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people of all kinds of colour vision can tell apart; grey is for references.
# With more methods than colours, each further round of them has another kind of line.
ROUNDS = ("-", "--", ":", "-.")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#8C6D31")
MARKERS = "osD^vPX*"
REFERENCES = {"ceiling": "--", "joint": "-.", "floor": ":"}
FEW = 10  # numbers that may each have a tick of their own
CROWDED = 0.8  # how much of that distance all methods together may take
LEGEND_LINE = 0.2  # inches
ASIDE = 0.08  # how far methods stand apart at a name, in distances between names
LETTERS = 54  # that fit beside each other below a panel
# Numbers that span more than this factor are doublings or decades, as numbers of samples are.
LOGARITHMIC = 50
# A reference farther from the methods than this many times their own range is told in the legend, not drawn: the
# methods, which are what is compared, would shrink to one height.
FAR = 1.5


def draw(series: Series) -> "Figure":
    """The main metric over the last axis, other axes averaged; where there is one axis, with intervals.

    Args:
        series: what to draw.

    Returns:
        A matplotlib figure, a panel for every metric that is shown.
    """
    import matplotlib

    # Titles and names are other people's: what stands between dollars in them is no formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        return _drawn(series)


def _drawn(series: Series) -> "Figure":
    from matplotlib.figure import Figure

    found = matrices(series)
    if found:
        return _matrices({series.labels[place]: matrix for place, matrix in found.items()})
    metrics = [m for m in series.metrics if m != "validation"][:2]
    # The legend names every line, and must not be cut off.
    height = max(4.4, 0.4 + LEGEND_LINE * len(series.lines))
    figure = Figure(figsize=(1.2 + 5.2 * len(metrics), height), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    told = _told(series, metrics)
    for panel, metric in zip(panels, metrics, strict=True):
        _panel(panel, series, metric, told)
    # A line may stand in one panel and not in another.
    shown = {name: h for panel in panels for h, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown, loc="outside right center", frameon=False, fontsize=9)
    return figure


def _matrices(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> "Figure":
    """A heat map for every method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for panel, (label, matrix) in zip(panels, found.items(), strict=True):
        draw_matrix(panel, on_one_line(f"{label} of one expert"), matrix)
    return figure


def _told(series: Series, metrics: Sequence[str]) -> dict[str, str]:
    """References too far from the methods to be drawn: label -> what the legend says instead."""
    axis = series.axes[-1]
    means = [[100 * m for metric in metrics for m in across(series, x, metric, axis).values()] for x in series.lines]
    drawn = [m for line, own in zip(series.lines, means, strict=True) if line.role == "method" for m in own]
    if not drawn:
        return {}
    reach = FAR * max(max(drawn) - min(drawn), 1.0)
    found = {}
    for name, line, own in zip(series.labels, series.lines, means, strict=True):
        low, high = min(own, default=0.0), max(own, default=0.0)
        if line.role != "method" and (low > max(drawn) + reach or high < min(drawn) - reach):
            ends = " to ".join(dict.fromkeys((f"{low:.1f}", f"{high:.1f}")))
            found[name] = f"{name}: {ends} ({'above' if low > max(drawn) else 'below'})"
    return found


def _panel(panel: "Axes", series: Series, metric: str, told: Mapping[str, str]) -> None:
    axis = series.axes[-1]
    values = values_of(series, axis, (across(series, line, metric, axis) for line in series.lines))
    named = not _are_numbers(values)
    places = _places(panel, values)
    methods = [line for line in series.lines if line.role == "method"]
    alone = len(series.axes) == 1  # only then is a point on the axis one score, with an interval
    for name, line in zip(series.labels, series.lines, strict=True):
        label = on_one_line(told.get(name, name))
        means = across(series, line, metric, axis)
        if not means:
            continue
        if not named:  # numbers may have been written in any order
            means = dict(sorted(means.items()))
        x, y = [places[v] for v in means], [100 * m for m in means.values()]
        if line.role != "method":
            style = {"color": "#6f7580", "linestyle": REFERENCES[line.role], "linewidth": 1.3}
            if name in told:
                panel.plot([], [], **style, label=label)
            elif named:
                panel.hlines(y, [place - 0.4 for place in x], [place + 0.4 for place in x], **style, label=label)
            else:
                panel.plot(x, y, **style, label=label)
            continue
        number = methods.index(line)
        colour, round_ = COLOURS[number % len(COLOURS)], ROUNDS[number // len(COLOURS) % len(ROUNDS)]
        style = {
            "color": colour,
            "marker": MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],
            "markersize": 5,
            "label": label,
        }
        intervals = intervals_of(series, line, metric) if alone else {}
        low, high = ([100 * intervals[v][i] for v in means if alone] for i in (0, 1))
        if named:  # there is nothing between two names that a line could lead through
            apart = min(ASIDE, CROWDED / len(methods))
            aside = [place + apart * (number - (len(methods) - 1) / 2) for place in x]
            panel.plot(aside, y, linestyle="", **style)
            if alone:
                panel.vlines(aside, low, high, color=colour, linewidth=1.2)
            continue
        panel.plot(x, y, linewidth=1.6, linestyle=round_, **style)
        if alone:
            panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.set_xlabel(on_one_line(axis))
    panel.set_ylabel(f"accuracy in %, {metric}")
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values) and len(values) > 1


def _places(panel: "Axes", values: Sequence[Any]) -> dict[Any, float]:
    """Where each value stands on the axis: numbers to scale, names side by side."""
    if _are_numbers(values):
        positive = [v for v in values if v > 0]
        wide = min(values) >= 0 and max(values) / min(positive) > LOGARITHMIC
        if wide and 0 in values:  # zero stands one step before the smallest
            panel.set_xscale("symlog", linthresh=min(positive), linscale=1)
        elif wide:
            panel.set_xscale("log", base=2)
        if len(values) <= FEW:
            panel.set_xticks(sorted(values))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.minorticks_off()
        return {v: float(v) for v in values}
    panel.set_xticks(range(len(values)), [_on_lines(on_one_line(v), LETTERS // len(values)) for v in values])
    return {v: float(i) for i, v in enumerate(values)}


def _on_lines(name: str, width: int) -> str:
    """A name on several lines, broken behind spaces, hyphens and plus signs, and within a word only if it must be."""
    return "\n".join(part.replace("+ ", "+") for part in wrap(name.replace("+", "+ "), max(6, width)))


def write_png(figure: "Figure", path: Path) -> None:
    """Write a picture that appears whole."""
    with writing(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="png", dpi=130)


def inline_svg(figure: "Figure") -> str:
    """The picture as SVG, to stand in a page; the same bits for the same series."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "mergebench", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :].replace(os.linesep, "\n")
