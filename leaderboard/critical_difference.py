"""Methods over tasks: mean ranks, whether they differ at all, and which of them do not (Friedman, Nemenyi)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergebench.errors import on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST = (3, 2)  # methods and tasks, below which there is nothing to test
LEVEL = 0.05
LINE = 0.22  # inches from name to name


@dataclass(frozen=True)
class RankTest:
    """What ranks over tasks say.

    Args:
        labels: of the rows, the best mean rank first.
        ranks: mean over tasks of each row's rank, 1 being the best and equals sharing theirs.
        p: of Friedman's test that all rows are alike.
        distance: two rows whose mean ranks are farther apart than this differ.
        tasks: how many.
    """

    labels: tuple[str, ...]
    ranks: tuple[float, ...]
    p: float
    distance: float
    tasks: int

    @property
    def alike(self) -> list[tuple[int, int]]:
        """Runs of rows, from first to last, that do not differ and are part of no longer such run."""
        found: list[tuple[int, int]] = []
        for first, rank in enumerate(self.ranks):
            last = max(i for i, other in enumerate(self.ranks) if other - rank <= self.distance)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def rank_test(labels: Sequence[str], accuracies: np.ndarray) -> RankTest | None:
    """Friedman's test of rows over tasks, and Nemenyi's critical difference at 5 %.

        CD = q sqrt(k (k + 1) / (6 T)),   q the studentized range's 95 % quantile for k means, over sqrt(2)

    Tasks are the sample here: it speaks of tasks like these, where the paired tests of averages speak of images of
    these very tasks. Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006).

    Args:
        labels: of the rows.
        accuracies: [K, T].

    Returns:
        The ranks; None of fewer than three rows or two tasks.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    count, tasks = accuracies.shape
    if count < FEWEST[0] or tasks < FEWEST[1]:
        return None
    ranks = rankdata(-accuracies, axis=0).mean(axis=1)
    alike = np.ptp(accuracies, axis=0).max() == 0  # all ties: the statistic is 0/0
    p = 1.0 if alike else float(friedmanchisquare(*accuracies).pvalue)
    q = studentized_range.ppf(1 - LEVEL, count, np.inf) / np.sqrt(2)
    order = np.argsort(ranks, kind="stable")
    named, means = tuple(labels[i] for i in order), tuple(float(ranks[i]) for i in order)
    return RankTest(named, means, p, float(q * np.sqrt(count * (count + 1) / (6 * tasks))), tasks)


def draw_ranks(test: RankTest) -> "Figure":
    """The critical-difference diagram: names at their mean ranks, bars over those that do not differ."""
    import matplotlib
    from matplotlib.figure import Figure

    count, bars = len(test.labels), test.alike
    half = (count + 1) // 2
    height = 0.9 + LINE * (0.8 * len(bars) + half + 1)
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(8.4, height), layout="constrained")
        panel = figure.subplots()
        panel.set_xlim(1 - 0.02 * count, count + 0.02 * count)
        depth = 0.8 * len(bars) + half + 1
        panel.set_ylim(depth, -1.6)
        panel.axis("off")
        _scale(panel, test)
        for number, (first, last) in enumerate(bars):
            low, high = test.ranks[first], test.ranks[last]
            panel.plot([low - 0.04, high + 0.04], [0.8 * (number + 0.8)] * 2, color="#D55E00", linewidth=3.5)
        for place, (label, rank) in enumerate(zip(test.labels, test.ranks, strict=True)):
            left = place < half
            row = 0.8 * len(bars) + 1 + (place if left else count - 1 - place)
            end = 1 if left else count
            panel.plot([rank, rank, end], [0, row, row], color="0.35", linewidth=0.7)
            told = f"{on_one_line(label)}  {rank:.1f}" if left else f"{rank:.1f}  {on_one_line(label)}"
            shift = {"ha": "right" if left else "left", "xytext": (-4 if left else 4, 0), "textcoords": "offset points"}
            panel.annotate(told, (end, row), va="center", fontsize=8, annotation_clip=False, **shift)
    return figure


def _scale(panel: "Axes", test: RankTest) -> None:
    """The axis of ranks, and how long the critical difference is on it."""
    count = len(test.labels)
    panel.plot([1, count], [0, 0], color="k", linewidth=1)
    for tick in sorted({1, count, *range(5, count, 5)} if count > 10 else range(1, count + 1)):
        panel.plot([tick, tick], [0, -0.25], color="k", linewidth=1)
        panel.annotate(str(tick), (tick, -0.3), ha="center", va="bottom", fontsize=8)
    panel.plot([1, min(1 + test.distance, count)], [-1.2, -1.2], color="#D55E00", linewidth=2)
    panel.annotate(f"critical difference {test.distance:.1f}", (1, -1.3), va="bottom", fontsize=8, color="#D55E00")
