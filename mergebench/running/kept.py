"""What an executor keeps of the cells before: bounded, however many of them there are."""

import traceback
from collections import OrderedDict
from collections.abc import Mapping
from typing import Self, cast

import numpy as np

from mergebench.measuring.facts import TaskScore

# Weights, a task, its images; and what was measured: counts, predictions and labels [N].
Key = tuple[str, str, str]
Scored = tuple[TaskScore, np.ndarray, np.ndarray]
MOST = (
    256_000_000  # bytes of predictions and labels; a thousand cells of eight tasks with 2,000 images each have 160 MB
)


class Scores(OrderedDict[Key, Scored]):
    """Scores by weights, task and images; those that nobody has asked for longest make room.

    What an evaluation has asked for (`in`) is there until it has added what was missing (`|=`), however much that is.

    Args:
        most: bytes that predictions and labels may take.
    """

    def __init__(self, most: int = MOST) -> None:
        super().__init__()
        self._most = most
        self._asked: set[Key] = set()

    def __contains__(self, key: object) -> bool:
        there = super().__contains__(key)
        if there:
            known = cast(Key, key)  # as only keys are there
            self.move_to_end(known)
            self._asked.add(known)
        return there

    def __ior__(self, added: Mapping[Key, Scored]) -> Self:  # type: ignore[override, misc]  # no pairs, as dict takes
        self.update(added)
        needed, self._asked = self._asked | added.keys(), set()
        size = sum(map(_size, self.values()))
        for key in [key for key in self if key not in needed]:
            if size <= self._most:
                break
            size -= _size(self[key])
            del self[key]
        return self


def _size(scored: Scored) -> int:
    return sum(array.nbytes for array in scored[1:])


class Failures(dict[str, BaseException]):
    """Errors by the merges that raised them; what was in memory when they were raised is let go of.

    An error leads to every frame that it came through, a frame to its variables, and its code to what that closes over:
    experts, activations, the pool. Of the latest error, for which a suite's other variants come next, the lines stay;
    of earlier ones the words.
    """

    _latest: BaseException | None = None

    def __setitem__(self, merge: str, error: BaseException) -> None:
        for one in _line(error):
            traceback.clear_frames(one.__traceback__)
        if self._latest is not None and self._latest is not error:
            for one in _line(self._latest):
                one.__traceback__ = None
        self._latest = error
        super().__setitem__(merge, error)


def _line(error: BaseException) -> list[BaseException]:
    """An error, and all that it came from."""
    found = {id(error): error}
    waiting = [error]
    while waiting:
        one = waiting.pop()
        for other in (one.__cause__, one.__context__):
            if other is not None and id(other) not in found:
                found[id(other)] = other
                waiting.append(other)
    return list(found.values())
