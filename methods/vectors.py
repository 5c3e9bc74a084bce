"""Task vectors that many steps go over: sums of them, and inner products with them, with little kept and no graph."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from mergebench.methods.spectral import FORMATS

# Entries from which a tensor's task vectors are kept in fewer bytes; of smaller ones operations cost more than memory.
LARGE = 2**18
CHUNK = 2**21  # numbers that are widened at a time

Made = TypeVar("Made")


class Asked(Mapping[str, Made]):
    """Tensors, or what is made of some, by name, each made when it is asked for.

    Args:
        names: in order.
        make: a name -> what it stands for.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], Made]) -> None:
        self._names, self._make = names, make

    def __getitem__(self, name: str) -> Made:
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Shifted(NamedTuple):
    """Task vectors with one shift of all their entries that are not zero.

    Args:
        vectors: [T, *shape].
        shift: [*shape].
    """

    vectors: Tensor
    shift: Tensor

    def moved(self) -> Tensor:
        """The vectors with the shift added [T, *shape]."""
        return torch.where(self.vectors != 0, self.vectors + self.shift, 0)


def narrowed(centre: Tensor, vectors: Tensor) -> Tensor | None:
    """Centre and centre + vectors in the coarsest format that gives both back to the last bit, [1 + T, size].

    Task vectors are differences of experts that were stored in fewer bytes than is computed with, as the base was.

    Args:
        centre: [size].
        vectors: [T, size].

    Returns:
        None where no format does.
    """
    for dtype in FORMATS:
        held = torch.empty(1 + len(vectors), len(centre), dtype=dtype, device=centre.device)
        held[0] = centre
        if held.element_size() < centre.element_size() and torch.equal(held[0].to(centre.dtype), centre):
            for kept, vector in zip(held[1:], vectors, strict=True):
                kept.copy_(vector + centre)
                if not torch.equal(kept.to(centre.dtype) - centre, vector):
                    break
            else:
                return held
    return None


class TaskVectors:
    """A centre and task vectors, tensor by tensor; those of large tensors in the experts' own format, if it is exact.

    Args:
        centre: name -> [*shape].
        vectors: name -> task vectors [T, *shape], or these and a shift; each is asked for once.
    """

    def __init__(self, centre: Mapping[str, Tensor], vectors: Mapping[str, Tensor | Shifted]) -> None:
        # Either the centre [size] with the vectors [T, size], or, narrowed, with what the vectors lead to.
        self._held: dict[str, Tensor] = {}
        self._shifts: dict[str, Tensor] = {}  # [size], of narrowed ones: with it, no narrow format would do
        self._buffer: Tensor | None = None
        for name, given in vectors.items():
            stack = given.vectors if isinstance(given, Shifted) else given
            start = centre[name].flatten()
            held = narrowed(start, stack.flatten(1)) if len(start) >= LARGE else None
            if held is None:
                stack = given.moved() if isinstance(given, Shifted) else given
                held = torch.cat([start[None], stack.flatten(1)])
            elif isinstance(given, Shifted):
                self._shifts[name] = given.shift.flatten()
            self._held[name] = held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def merged(self, name: str, weights: Tensor) -> Tensor:
        """centre + sum_t w_t tau_t, for weights [T]: [size]."""
        held = self._held[name]
        if held.dtype == weights.dtype:
            return torch.mv(held.T, torch.cat([weights.new_ones(1), weights]))
        total = held[0].to(weights.dtype)
        for cut, vectors in self._widened(name, weights):
            total[cut].addmv_(vectors.T, weights)
        return total

    def along(self, name: str, slope: Tensor) -> Tensor:
        """<slope, tau_t> of every task, for a slope [*shape]: [T]."""
        held, slope = self._held[name], slope.reshape(-1)
        if held.dtype == slope.dtype:
            return torch.mv(held[1:], slope)
        parts = (torch.mv(vectors, slope[cut]) for cut, vectors in self._widened(name, slope))
        return sum(parts, start=slope.new_zeros(len(held) - 1))

    def _widened(self, name: str, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Cuts through a tensor's entries with their task vectors [T, k], which stand until the next ones are asked."""
        held, shift = self._held[name], self._shifts.get(name)
        tasks, size = len(held) - 1, held.shape[1]
        length = max(1, CHUNK // tasks)
        if self._buffer is None:
            self._buffer = torch.empty(tasks, length, dtype=like.dtype, device=like.device)
        for first in range(0, size, length):
            cut = slice(first, min(first + length, size))
            vectors = self._buffer[:, : cut.stop - first]
            vectors.copy_(held[1:, cut]).sub_(held[0, cut].to(like.dtype))
            if shift is not None:
                still = vectors == 0
                vectors.add_(shift[cut]).masked_fill_(still, 0)
            yield cut, vectors
