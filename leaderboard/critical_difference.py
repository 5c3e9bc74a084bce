"""Methods over tasks: mean ranks, whether they differ at all, and which of them do not (Friedman, Nemenyi)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = (3, 2)  # methods and tasks, below which there is nothing to test
LEVEL = 0.05


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
