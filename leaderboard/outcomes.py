"""What a row got right, image by image: what statements about pairs of rows are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mergebench.measuring.results import Result


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One row's.

    Args:
        averages: seed -> mean accuracy over tasks.
        shares: task -> in which share of the seeds each image is classified correctly [N].
        first: task -> whether it is with the first seed [N].
    """

    averages: Mapping[int, float]
    shares: Mapping[str, np.ndarray]
    first: Mapping[str, np.ndarray]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In order."""
        return tuple(self.averages)


def outcomes_of(results: Sequence[Result]) -> Outcomes | None:
    """The outcomes of one row; None where predictions and labels are not stored, or not of the same images.

    Args:
        results: of one method and setting, one per seed, none failed.
    """
    hits = {}
    for result in sorted(results, key=lambda r: r.seed):
        hits[result.seed] = result.hits()
    if not hits or any(one is None for one in hits.values()):
        return None
    sizes = [{task: len(right) for task, right in one.items()} for one in hits.values()]
    if any(one != sizes[0] for one in sizes):
        return None
    averages = {seed: fmean(float(right.mean()) for right in one.values()) for seed, one in hits.items()}
    shares = {task: np.mean([one[task] for one in hits.values()], axis=0) for task in sizes[0]}
    return Outcomes(averages, shares, next(iter(hits.values())))
