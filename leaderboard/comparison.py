"""Two rows of a board against each other, task by task, on the same images."""

from dataclasses import dataclass

import numpy as np

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import Row
from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.pairs import Pairs
from mergebench.leaderboard.statistics import holm, mcnemar


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
    tasks = list(first.shares)
    exact = {task: mcnemar(first.first[task], second.first[task]) for task in tasks}
    corrected = holm(np.array([exact[task][2] for task in tasks]))
    found = {}
    for task, adjusted in zip(tasks, corrected, strict=True):
        only_ours, only_theirs, p = exact[task]
        facts = _facts(first.of_task(task), second.of_task(task))
        found[task] = Difference(*facts[:4], p, float(adjusted), only_ours, only_theirs)
    *facts, p = _facts(first, second)
    counts = (sum(exact[task][side] for task in tasks) for side in (0, 1))
    return Comparison(found, Difference(*facts, p, p, *counts), ours, theirs)


def _outcomes(row: Row) -> Outcomes:
    if row.average is None:
        raise MergebenchError(f"{row.title} failed, and has nothing to compare: {row.error}")
    if row.outcomes is None:
        raise MergebenchError(
            f"{row.title} is stored without predictions and labels, by an earlier version: run it again into another "
            "folder"
        )
    return row.outcomes


def _facts(ours: Outcomes, theirs: Outcomes) -> tuple[float, float, float, tuple[float, float], float]:
    """Both averages, their difference, its interval and p value."""
    pairs = Pairs([ours, theirs])
    low, high = (float(end[0, 1]) for end in pairs.interval())
    means = (float(np.mean([shares.mean() for shares in side.shares.values()])) for side in (ours, theirs))
    return (*means, float(pairs.difference[0, 1]), (low, high), float(pairs.p[0, 1]))
