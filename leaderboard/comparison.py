"""Two rows of a board against each other, task by task, on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import Row
from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.pairs import Ends, Pairs
from mergebench.leaderboard.significance import holm, mcnemar


@dataclass(frozen=True)
class Difference:
    """One task's, or the average's.

    Args:
        ours, theirs: accuracies, means over seeds.
        difference: ours less theirs.
        interval: its 95 % interval, of the paired bootstrap.
        p: two-sided, of no difference: McNemar's exact one of a task, the paired t test's of the average.
        corrected: by Holm over all tasks; the average's own.
        only_ours, only_theirs: images that one of the two alone classifies correctly, with the first seed.
    """

    ours: float
    theirs: float
    difference: float
    interval: tuple[float, float]
    p: float
    corrected: float
    only_ours: int
    only_theirs: int


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Args:
        tasks: task -> difference.
        average: of the averages.
        ours, theirs: the rows.
    """

    tasks: dict[str, Difference]
    average: Difference
    ours: Row
    theirs: Row


def compare(ours: Row, theirs: Row) -> Comparison:
    """Hold two rows of one board against each other.

    Raises:
        MergebenchError: a row without stored predictions, or of other images.
    """
    first, second = (_outcomes(row) for row in (ours, theirs))
    if not first.same_images(second):
        raise MergebenchError(f"{ours.title} and {theirs.title} were not evaluated on the same images: run both again")
    tasks, pairs = list(first.shares), Pairs([first, second])
    whole, of_tasks = pairs.intervals()
    exact = [mcnemar(first.first[task], second.first[task]) for task in tasks]
    corrected = holm(np.array([p for _, _, p in exact]))
    found = {}
    for task, ends, (*only, p), adjusted in zip(tasks, of_tasks, exact, corrected, strict=True):
        means = (float(side.shares[task].mean()) for side in (first, second))
        found[task] = _difference(*means, ends, (p, float(adjusted)), only)
    means = (float(np.mean([shares.mean() for shares in side.shares.values()])) for side in (first, second))
    p, only = float(pairs.p[0, 1]), [sum(one[side] for one in exact) for side in (0, 1)]
    return Comparison(found, _difference(*means, whole, (p, p), only), ours, theirs)


def _outcomes(row: Row) -> Outcomes:
    if row.average is None:
        raise MergebenchError(f"{row.title} failed, and has nothing to compare: {row.error}")
    if row.outcomes is None:
        raise MergebenchError(
            f"{row.title} is stored without predictions and labels, by an earlier version: run it again into another "
            "folder"
        )
    return row.outcomes


def _difference(ours: float, theirs: float, ends: Ends, p: tuple[float, float], only: Sequence[int]) -> Difference:
    """From both averages, their difference's interval, p value (as it is, and corrected), and who alone is right."""
    low, high = (float(end[0, 1]) for end in ends)
    return Difference(ours, theirs, ours - theirs, (low, high), *p, *only)
