"""Running a plan: cell by cell, each result written the moment it is known, what is done skipped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError
from mergebench.measuring.facts import beside
from mergebench.measuring.results import Result, ResultStore
from mergebench.merging.time_limit import check_limit
from mergebench.running.planned import Cell, Plan
from mergebench.weights.writing import check_writable

if TYPE_CHECKING:
    from mergebench.measuring.evaluation import Evaluation

# A cell's result if it is there and well; else None, and why not, if there is something in its place.
Found = tuple[Result | None, str]


@dataclass
class Summary:
    """How a run went: results in the order of the plan, and how many of them were already there."""

    results: list[Result] = field(default_factory=list)
    reused: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> list[Result]:
        """Cells that failed."""
        return [r for r in self.results if r.status == "failed"]


class Observer:
    """Told of what happens, so that progress can be shown; does nothing by itself."""

    def tell(self, sentence: str) -> None:
        """Something to be known, in a sentence: a stored result that is set aside, a folder that may only be read."""

    def start(self, plan: Plan, todo: list[Cell]) -> None:
        """The run begins; the cells in `todo` are not done yet."""

    def cell(self, cell: Cell) -> None:
        """A cell begins to merge."""

    def merging(self, cell: Cell, what: str, done: int, total: int) -> None:
        """A cell's merge is so far: of `total` tensors, images, blocks or steps so many are done."""

    def task(self, cell: Cell, task: str) -> None:
        """A cell has been evaluated on a task."""

    def done(self, cell: Cell, result: Result, reused: bool) -> None:
        """A cell is stored."""


def look(plan: Plan, store: ResultStore) -> list[Found]:
    """What is stored of a plan's cells, in their order."""
    return [store.look(cell.key) for cell in plan.cells]


def run(
    plan: Plan,
    store: ResultStore,
    observer: Observer | None = None,
    timeout: float | None = None,
    stored: Sequence[Found] | None = None,
) -> Summary:
    """Run all cells that are not done; a cell that fails is recorded and costs itself alone.

    Args:
        plan: the cells.
        store: where results are.
        observer: told of progress.
        timeout: seconds that one merge may take; what takes longer has failed.
        stored: what `look` has found of them just now, if it has been called.

    Raises:
        MergebenchError: the store cannot be written.
    """
    check_limit(timeout)
    observer = observer or Observer()
    start = time.perf_counter()
    asked = datetime.now(UTC).isoformat(timespec="milliseconds")
    summary = Summary()
    stored = look(plan, store) if stored is None else stored
    for fault in filter(None, (fault for _, fault in stored)):
        observer.tell(f"{fault}; it is measured again")
    found = [result for result, _ in stored]
    if None in found:  # where all is done, a folder may be read-only
        check_writable(store.out / "cells" / "any")
        measured = _measuring(plan, observer, timeout)
    observer.start(plan, [c for c, r in zip(plan.cells, found, strict=True) if r is None])
    unwritten = False
    ceilings: dict[tuple[int, str], Result] = {}
    for cell, result in zip(plan.cells, found, strict=True):
        reused = result is not None
        ceiling = ceilings.get((cell.seed, (cell.variant.reference or cell.variant).name))
        outcome = None
        if result is None:
            observer.cell(cell)
            result, outcome = measured(cell)
        # A reused cell may have another place among the variants now, and the experts may have failed when it was new.
        tasks = beside(result.tasks, ceiling.tasks) if ceiling else result.tasks
        facts = {"asked": asked, "tasks": tasks, **cell.place}
        # Whoever asks for it, a result goes on telling that a search chose its hyper-parameters.
        facts |= {"tuned": dict(cell.tuned)} if cell.tuned else {}
        result = result.model_copy(update=facts)
        if reused:
            try:
                store.update(cell.key, result)
            except MergebenchError as error:
                if not unwritten:
                    observer.tell(f"{error}; results are shown as they are stored, and do not note this run")
                unwritten = True
        else:
            well = outcome if result.status == "ok" else None
            store.write(cell.key, result, *((well.predictions, well.labels) if well else ({}, {})))
        # A plan's first method is the ceiling that all others, ceilings too, are held against.
        if cell.card is plan.cells[0].card and result.status == "ok":
            ceilings[cell.seed, cell.variant.name] = result
        summary.results.append(result)
        summary.reused += reused
        observer.done(cell, result, reused)
    summary.seconds = time.perf_counter() - start
    return summary


def _measuring(
    plan: Plan, observer: Observer, timeout: float | None
) -> "Callable[[Cell], tuple[Result, Evaluation | None]]":
    """What merges and evaluates a plan's cells, one after the other."""
    # Only where there is something to do: torch and timm take seconds to import, a finished run none to look through.
    from mergebench.running.cell import run_cell
    from mergebench.running.execution import Executor

    executor = Executor(plan.bench, plan.device, timeout, plan.precision, plan.devices)

    def measured(cell: Cell) -> "tuple[Result, Evaluation | None]":
        executor.tell = partial(observer.merging, cell)
        return run_cell(executor, cell, partial(observer.task, cell))

    return measured
