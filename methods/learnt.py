"""Merged weights that depend on what is learnt: they are written into an encoder, and take its slopes back."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mergebench import ModelPool
from mergebench.methods.vectors import TaskVectors


class Merging(Protocol):
    """Merged weights that depend on what is learnt, and how a slope goes from the ones to the other.

    Args:
        learnt: what Adam changes, in place.
    """

    learnt: list[Tensor]

    def write(self, into: Mapping[str, Tensor]) -> Sequence[str]:
        """Merge at what was learnt so far, into an encoder's own tensors; gives the names of those it writes."""

    def pull(self, slopes: Mapping[str, Tensor]) -> None:
        """Set the gradients of what is learnt, given those of the merged weights; a name not there has none."""


class Coefficients:
    """theta_0 + sum_t lambda_t tau_t, tensor by tensor: a `Merging` whose gradient is d lambda_t = <d theta, tau_t>.

    Args:
        vectors: theta_0 and the task vectors.
        init: every coefficient's first value.
        granularity: "task" or "layer", one coefficient per task, or per task and tensor.
        clamp: whether coefficients count no less than 0 and no more than 1.
        pool: whose tasks, device and precision.
    """

    def __init__(self, vectors: TaskVectors, *, init: float, granularity: str, clamp: bool, pool: ModelPool) -> None:
        names = tuple(vectors)
        self._vectors, self._clamp = vectors, clamp
        self._rows = {name: i if granularity == "layer" else 0 for i, name in enumerate(names)}
        rows = len(names) if granularity == "layer" else 1
        self.table = torch.full((rows, len(pool.tasks)), init, dtype=pool.dtype, device=pool.device)
        self.learnt = [self.table]

    @property
    def used(self) -> Tensor:
        """The coefficients as they count, [rows, T]."""
        return self.table.clamp(0, 1) if self._clamp else self.table

    def write(self, into: Mapping[str, Tensor]) -> Sequence[str]:
        """Merge at the coefficients."""
        used = self.used
        for name, row in self._rows.items():
            into[name].copy_(self._vectors.merged(name, used[row]).view(into[name].shape))
        return tuple(self._rows)

    def pull(self, slopes: Mapping[str, Tensor]) -> None:
        """The coefficients' gradient; one that is cut has none."""
        gradient = torch.zeros_like(self.table)
        for name, slope in slopes.items():
            gradient[self._rows[name]] += self._vectors.along(name, slope)
        self.table.grad = gradient * (self.table == self.used)
