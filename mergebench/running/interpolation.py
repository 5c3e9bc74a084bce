"""Models on the straight line between two, and how far accuracy falls below the line between the ends' on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mergebench.running.execution import Executor
from mergebench.weights.states import StateDict


@dataclass(frozen=True)
class Path:
    """Accuracies on the line from one model to another.

    Args:
        shares: of the second model, from 0 to 1 [P].
        tasks: names.
        accuracies: [P, tasks].
    """

    shares: tuple[float, ...]
    tasks: tuple[str, ...]
    accuracies: np.ndarray

    @property
    def barriers(self) -> np.ndarray:
        """Each task's largest fall below the line between the accuracies of the ends [tasks]; 0 where there is none.

            max_s ((1 - s) acc(0) + s acc(1) - acc(s))

        Source: Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", section 2, whose errors
        are one less accuracy.
        """
        shares = np.array(self.shares)[:, None]
        falls = (1 - shares) * self.accuracies[0] + shares * self.accuracies[-1] - self.accuracies
        largest: np.ndarray = falls.max(0)
        return largest


def between(first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float) -> StateDict:
    """(1 - share) first + share second, in the first's dtypes; what is no number with a point stays the first's."""
    return {
        name: torch.lerp(value.double(), second[name].double(), share).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in first.items()
    }


def walk_line(
    executor: Executor,
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    tasks: Sequence[str],
    shares: Sequence[float],
    on_point: Callable[[float], None] = lambda share: None,
) -> Path:
    """Evaluate models between two on validation images.

    Args:
        executor: of the bench whose heads and images are meant.
        first, second: the ends' weights.
        tasks: to evaluate on.
        shares: of the second, from 0 to 1.
        on_point: called as each is done.
    """
    found = []
    for share in shares:
        outcome, _ = executor.evaluate(between(first, second, share), tuple(tasks), "validation")
        executor.forget_scores()
        found.append([outcome.scores[task].accuracy for task in tasks])
        on_point(share)
    return Path(tuple(shares), tuple(tasks), np.array(found))
