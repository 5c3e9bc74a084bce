"""Running a plan: each result written the moment it is known, whoever computes it, what is done skipped."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mergebench.errors import MergebenchError
from mergebench.measuring.facts import beside
from mergebench.measuring.results import Result, ResultStore
from mergebench.merging.time_limit import check_limit
from mergebench.running.engine import Engine, InProcess, Measured
from mergebench.running.groups import grouped, longest_first
from mergebench.running.leases import Leases
from mergebench.running.observer import Observer
from mergebench.running.planned import Cell, Plan
from mergebench.running.work import Work
from mergebench.weights.writing import check_writable

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


def look(plan: Plan, store: ResultStore) -> list[Found]:
    """What is stored of a plan's cells, in their order."""
    return [store.look(cell.key) for cell in plan.cells]


def run(
    plan: Plan,
    store: ResultStore,
    observer: Observer | None = None,
    timeout: float | None = None,
    stored: Sequence[Found] | None = None,
    engine: Engine | None = None,
) -> Summary:
    """Run all cells that are not done; a cell that fails is recorded and costs itself alone.

    Other runs may be at work in the same folder: a cell is computed by one of them, and the others wait for it.

    Args:
        plan: the cells.
        store: where results are; whatever computes them, this process alone writes there.
        observer: told of progress.
        timeout: seconds that one merge may take; what takes longer has failed.
        stored: what `look` has found of them just now, if it has been called.
        engine: what computes; this process, if not given.

    Raises:
        MergebenchError: the store cannot be written, or the engine cannot compute.
    """
    check_limit(timeout)
    observer = observer or Observer()
    start = time.perf_counter()
    stored = look(plan, store) if stored is None else stored
    for fault in filter(None, (fault for _, fault in stored)):
        observer.tell(f"{fault}; it is measured again")
    found = {cell.key.digest: result for cell, (result, _) in zip(plan.cells, stored, strict=True) if result}
    todo = [cell for cell in plan.cells if cell.key.digest not in found]
    if todo:  # where all is done, a folder may be read-only
        check_writable(store.out / "cells" / "any")
    observer.start(plan, todo)
    book = _Book(plan, store, observer)
    for cell in plan.cells:
        if cell.key.digest in found:
            book.reuse(cell, found[cell.key.digest])
    if todo:
        with Leases(store.out / "leases") as leases:
            groups = longest_first(grouped(todo)) if engine else grouped(todo)
            work = Work(groups, store, leases, book.asked)
            # Closed whatever happens between two cells: an engine's processes must not outlive the run.
            with closing((engine or InProcess()).measure(plan, work, observer, timeout)) as measuring:
                for measured in measuring:
                    if measured is not None:
                        book.enter(measured)
                        work.release(measured.cell)
                    for cell, result in work.found():
                        book.reuse(cell, result)
    return book.summary(time.perf_counter() - start)


class _Book:
    """Writes results down as they come, in whatever order: with the experts' counts beside them, and their place.

    Args:
        plan, store, observer: of the run.
    """

    def __init__(self, plan: Plan, store: ResultStore, observer: Observer) -> None:
        self._plan, self._store, self._observer = plan, store, observer
        self.asked = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._results: dict[str, Result] = {}
        self._reused, self._unwritten = 0, False
        self._ceilings: dict[tuple[int, str], Result] = {}
        self._early: dict[tuple[int, str], list[Cell]] = {}  # written before the experts were known

    def reuse(self, cell: Cell, result: Result) -> None:
        """A result that was there."""
        self._reused += 1
        self._update(cell, self._placed(cell, result))
        self._observer.done(cell, self._results[cell.key.digest], True)

    def enter(self, measured: Measured) -> None:
        """A result that was just computed."""
        cell, evaluation = measured.cell, measured.evaluation
        result = self._placed(cell, measured.result)
        well = evaluation if result.status == "ok" else None
        self._store.write(cell.key, result, *((well.predictions, well.labels) if well else ({}, {})))
        self._hold(cell, result)
        self._observer.done(cell, result, False)

    def summary(self, seconds: float) -> Summary:
        """How it went."""
        return Summary([self._results[cell.key.digest] for cell in self._plan.cells], self._reused, seconds)

    def _update(self, cell: Cell, result: Result) -> None:
        try:
            self._store.update(cell.key, result)
        except MergebenchError as error:
            if not self._unwritten:
                self._observer.tell(f"{error}; results are shown as they are stored, and do not note this run")
            self._unwritten = True
        self._hold(cell, result)

    def _placed(self, cell: Cell, result: Result) -> Result:
        # A reused cell may have another place among the variants now, and the experts may have failed when it was new.
        ceiling = self._ceilings.get(_condition(cell))
        facts: dict[str, Any] = {"asked": self.asked, **cell.place}
        if ceiling:
            facts["tasks"] = beside(result.tasks, ceiling.tasks)
        elif cell.card is not self._plan.cells[0].card:
            self._early.setdefault(_condition(cell), []).append(cell)
        # Whoever asks for it, a result goes on telling that a search chose its hyper-parameters.
        facts |= {"tuned": dict(cell.tuned)} if cell.tuned else {}
        return result.model_copy(update=facts)

    def _hold(self, cell: Cell, result: Result) -> None:
        self._results[cell.key.digest] = result
        # A plan's first method is the ceiling that all others, ceilings too, are held against.
        if cell.card is self._plan.cells[0].card and result.status == "ok":
            self._ceilings[cell.seed, cell.variant.name] = result
            for early in self._early.pop((cell.seed, cell.variant.name), []):
                # As it was stored: what has been read again goes on proving what it says.
                known = self._store.latest(early.key) or self._results[early.key.digest]
                self._update(early, self._placed(early, known))


def _condition(cell: Cell) -> tuple[int, str]:
    """Under which the experts were measured that a cell is held against."""
    return cell.seed, (cell.variant.reference or cell.variant).name
