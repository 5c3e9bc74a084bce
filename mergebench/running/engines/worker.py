"""Computing cells in another process than the one that planned them and writes their results down."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from mergebench.errors import MergebenchError, overheard
from mergebench.measuring.keys import CellKey
from mergebench.measuring.results import Result
from mergebench.running.planned import RunRequest

if TYPE_CHECKING:
    from mergebench.measuring.evaluation import Evaluation

OFTEN = 0.25  # seconds between two messages about how far a merge is

# ("cell" | "merging" | "task", digest of the cell's key, what the observer is told beside the cell), or
# ("told", "", (sentence,)).
Message = tuple[str, str, tuple[Any, ...]]


class Job(NamedTuple):
    """What all cells of a run have in common.

    Args:
        request: what was asked for, but for the device, which is this worker's.
        timeout: seconds that one merge may take.
        threads: of the processor, that one worker computes on.
        folder: that relative paths in the request are relative to.
    """

    request: RunRequest
    timeout: float | None
    threads: int
    folder: str


class Worker:
    """Computes cells of one job; its plan is its own, and what is not the same in it as planned is refused.

    Args:
        job: what is run.

    Raises:
        MergebenchError: it cannot be planned here, as where files are lacking.
    """

    def __init__(self, job: Job) -> None:
        from mergebench.measuring.measure import set_threads
        from mergebench.running.execution import Executor
        from mergebench.running.plan import make_plan

        set_threads(job.threads)
        with suppress(OSError):  # names of what is installed need no folder; a file that is lacking is told by its name
            os.chdir(job.folder)
        self.job = job
        with overheard(lambda sentence: None, alone=True):  # who planned it has told it
            plan = make_plan(job.request)
        self._cells = {cell.key.digest: cell for cell in plan.cells}
        self._executor = Executor(plan.workbench, plan.device, job.timeout, plan.precision, plan.devices)

    def compute(
        self, keys: Sequence[CellKey], tell: Callable[[Message], None]
    ) -> "Iterator[tuple[str, Result, Evaluation | None]]":
        """Compute cells that share a merge.

        Args:
            keys: theirs, as planned.
            tell: told what is begun, and how far it is.

        Yields:
            Per cell its key's digest, its result, and what its counts follow from.

        Raises:
            MergebenchError: a cell is another one here: weights, images or code differ.
        """
        from mergebench.running.cell import run_cell

        for key in keys:
            self._check(key)
        for key in keys:
            name = key.digest
            tell(("cell", name, ()))
            self._executor.tell = _seldom(_telling(tell, "merging", name))
            with overheard(lambda sentence: tell(("told", "", (sentence,))), alone=True):
                result, evaluation = run_cell(self._executor, self._cells[name], _telling(tell, "task", name))
            yield name, result, evaluation

    def _check(self, key: CellKey) -> None:
        if key.digest in self._cells:
            return
        whose = (key.method, key.variant, key.seed)
        mine = [c.key for c in self._cells.values() if (c.key.method, c.key.variant, c.key.seed) == whose]
        differing = min((_differing(key, other) for other in mine), key=len, default=["method, variant or seed"])
        raise MergebenchError(
            f"{key.method} on {key.suite} is another cell here than planned: {', '.join(differing[:3])} differ; have "
            "the same code, weights and images wherever cells are computed"
        )


def _differing(one: CellKey, other: CellKey) -> list[str]:
    """The parts of two keys that are not the same, as "weights of experts/digits"."""
    told = []
    for name, theirs in vars(one).items():
        ours = getattr(other, name)
        if isinstance(theirs, Mapping):
            parts = [part for part in {**theirs, **ours} if theirs.get(part) != ours.get(part)]
            told += [f"{name} ({part})" for part in parts]
        elif theirs != ours:
            told.append(f"{name} ({theirs} and {ours})")
    return told


def _telling(tell: Callable[[Message], None], kind: str, name: str) -> Callable[..., None]:
    """What an observer is told of one cell, as messages."""
    return lambda *told: tell((kind, name, told))


def _seldom(tell: Callable[..., None]) -> Callable[[str, int, int], None]:
    """The same, called no more often than is looked at; the last step is always told."""
    last = -OFTEN

    def told(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= OFTEN or done == total:
            last = now
            tell(what, done, total)

    return told
