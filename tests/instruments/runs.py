"""What two runs are held to each other by, and who watches one."""

import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mergebench.measuring.results import Result
from mergebench.running.observer import Observer


def facts(results: Iterable[Result]) -> dict[tuple[str, int, str], Any]:
    """What must not depend on who computes: status, hash of the merged weights, counts and hashes of predictions."""
    return {
        (r.method, r.seed, r.variant): (
            r.status,
            r.error,
            r.merged_weights,
            {t: s.model_dump() for t, s in r.tasks.items()},
        )
        for r in results
    }


def files(out: Path) -> list[str]:
    """The names of all files that a run has left in its folder."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


class Watching(Observer):
    """Notes what it is told, and kills all processes that this one has started when a method first begins.

    Args:
        deadly: the method; none, if not given.
    """

    def __init__(self, deadly: str = "") -> None:
        self.deadly = deadly
        self.told: list[str] = []
        self.begun: list[str] = []
        self.ended: list[tuple[str, bool]] = []
        self.tasks: set[tuple[str, str]] = set()

    def tell(self, sentence: str) -> None:
        """A sentence."""
        self.told.append(sentence)

    def cell(self, cell: Any) -> None:
        """A cell begins."""
        self.begun.append(cell.card.name)
        if cell.card.name == self.deadly and self.begun.count(self.deadly) == 1:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    def task(self, cell: Any, task: str) -> None:
        """A task is evaluated."""
        self.tasks.add((cell.card.name, task))

    def done(self, cell: Any, result: Result, reused: bool) -> None:
        """A cell is stored."""
        self.ended.append((cell.card.name, reused))
