"""What a row got right, image by image: what statements about pairs of rows are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from mergebench.measuring.results import Result


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One row's.

    Args:
        accuracies: seed -> task -> accuracy.
        shares: task -> in which share of the seeds each image is classified correctly [N].
        first: task -> whether it is with the first seed [N].
    """

    accuracies: Mapping[int, Mapping[str, float]]
    shares: Mapping[str, np.ndarray]
    first: Mapping[str, np.ndarray]

    @classmethod
    def of_hits(cls, hits: Mapping[int, Mapping[str, np.ndarray]]) -> "Outcomes":
        """From seed -> task -> which images are classified correctly [N], of which there is one seed at least."""
        ordered = [hits[seed] for seed in sorted(hits)]
        accuracies = {
            seed: {task: np.count_nonzero(right) / len(right) for task, right in hits[seed].items()}
            for seed in sorted(hits)
        }
        shares = {task: np.mean([one[task] for one in ordered], axis=0) for task in ordered[0]}
        return cls(accuracies, shares, ordered[0])

    @property
    def seeds(self) -> tuple[int, ...]:
        """In order."""
        return tuple(self.accuracies)

    @cached_property
    def averages(self) -> dict[int, float]:
        """Seed -> mean accuracy over tasks."""
        return {seed: fmean(of_task.values()) for seed, of_task in self.accuracies.items()}

    def of_task(self, task: str) -> "Outcomes":
        """Those of one task alone."""
        accuracies = {seed: {task: of_task[task]} for seed, of_task in self.accuracies.items()}
        return Outcomes(accuracies, {task: self.shares[task]}, {task: self.first[task]})

    def same_images(self, other: "Outcomes") -> bool:
        """Whether both are of as many images of the same tasks."""
        return {t: len(s) for t, s in self.shares.items()} == {t: len(s) for t, s in other.shares.items()}


def outcomes_of(results: Sequence[Result]) -> Outcomes | None:
    """The outcomes of one row; None where predictions and labels are not stored, or not of the same images.

    Args:
        results: of one method and setting, one per seed, none failed.
    """
    found = {result.seed: result.hits() for result in results}
    hits = {seed: one for seed, one in found.items() if one is not None}
    sizes = [{task: len(right) for task, right in one.items()} for one in hits.values()]
    if len(hits) < len(results) or any(one != sizes[0] for one in sizes):
        return None
    return Outcomes.of_hits(hits)
