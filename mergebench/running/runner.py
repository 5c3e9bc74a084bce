"""Running a plan: cell by cell, each result written the moment it is known, what is done skipped."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from mergebench.errors import MergebenchError, in_words, writable
from mergebench.measuring.evaluation import Evaluation
from mergebench.measuring.measure import environment
from mergebench.measuring.results import Cost, Result, ResultStore, TaskScore
from mergebench.merging.time_limit import check_limit
from mergebench.running.execution import Executor, Merged, Recipe
from mergebench.running.failure import line_of
from mergebench.running.plan import Cell, Plan
from mergebench.suites.bench import Bench
from mergebench.weights.writing import check_writable

LONGEST = 20_000  # characters of a traceback that are kept, from its end


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


def run(plan: Plan, store: ResultStore, observer: Observer | None = None, timeout: float | None = None) -> Summary:
    """Run all cells that are not done; a cell that fails is recorded and costs itself alone.

    Args:
        plan: the cells.
        store: where results are.
        observer: told of progress.
        timeout: seconds that one merge may take; what takes longer has failed.

    Raises:
        MergebenchError: the store cannot be written.
    """
    check_limit(timeout)
    observer = observer or Observer()
    start = time.perf_counter()
    asked = datetime.now(UTC).isoformat(timespec="milliseconds")
    summary = Summary()
    executor = Executor(plan.bench, plan.device, timeout, plan.precision, plan.devices)
    found = []
    for cell in plan.cells:
        result, fault = store.look(cell.key)
        found.append(result)
        if fault:
            observer.tell(f"{fault}; it is measured again")
    if None in found:  # where all is done, a folder may be read-only
        check_writable(store.out / "cells" / "any")
    observer.start(plan, [c for c, r in zip(plan.cells, found, strict=True) if r is None])
    unwritten = False
    ceilings: dict[tuple[int, str], Result] = {}
    for cell, result in zip(plan.cells, found, strict=True):
        reused = result is not None
        ceiling = ceilings.get((cell.seed, (cell.variant.reference or cell.variant).name))
        outcome: Evaluation | None = None
        if result is None:
            observer.cell(cell)
            executor.tell = partial(observer.merging, cell)
            result, outcome = run_cell(executor, cell, lambda task, cell=cell: observer.task(cell, task))
        # A reused cell may have another place among the variants now, and the experts may have failed when it was new.
        tasks = _beside(result.tasks, ceiling.tasks) if ceiling else result.tasks
        facts = {"asked": asked, "tasks": tasks, **_place(plan.bench, cell)}
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


def run_cell(
    executor: Executor, cell: Cell, on_task: Callable[[str], None] = lambda task: None
) -> tuple[Result, Evaluation | None]:
    """Merge and evaluate one cell.

    Args:
        executor: merges and evaluates.
        cell: what to run.
        on_task: called as each task has been evaluated.

    Returns:
        The result (failed, with the reason, if the method raised) and what its counts follow from. Its place among the
        variants, and the experts' counts beside a method's, are for `run` to add, as for results that are reused.
    """
    bench, variant, card = executor.bench, cell.variant, cell.card
    started = datetime.now(UTC).isoformat(timespec="seconds")
    facts: dict[str, Any] = {"merge": None, "evaluation": None, "tasks": {}, "drawn": {}}
    outcome = None
    try:
        merged = executor.merge(Recipe(card, cell.function, cell.hyperparameters, cell.seed), variant)
        facts |= {n: getattr(merged, n) for n in ("drawn", "drawn_images", "diagnostics")}
        facts["merge"] = merged.cost
        outcome, facts["evaluation"] = _evaluate(executor, cell, merged, on_task)
        if bench.study and bench.study.choose_on_validation:
            facts["validation"] = _validate(executor, cell, merged)
        facts["tasks"] = _beside(outcome.scores, outcome.scores if card.role == "ceiling" else {})
        status, error = "ok", None
    except KeyboardInterrupt:
        raise
    # A method is other people's code: whatever it raises must cost its own cell alone.
    except BaseException as exception:  # noqa: BLE001
        status, error = "failed", in_words(exception)
        facts |= _way_to(exception, card.path)
    result = Result(
        status=status,
        error=error,
        method=card.name,
        title=card.title,
        paper=card.paper,
        role=card.role,
        family="references" if card.role != "method" else cell.needs.family,
        needs=cell.needs.names(),
        source=cell.key.source,
        starts=dict(cell.key.starts),
        engine=cell.engine,
        hyperparameters=cell.hyperparameters,
        suite=bench.name,
        study=bench.study_name,
        zoo=bench.zoo.name,
        variant=variant.name,
        conditions=dict(cell.key.conditions),
        merged=list(variant.merged),
        seed=cell.seed,
        weights=dict(cell.key.weights),
        data=dict(cell.key.data),
        origins=bench.zoo.origins({*variant.merged, *variant.evaluate}),
        duplicates=bench.zoo.duplicates({*variant.merged, *variant.evaluate}),
        environment=environment(executor.device, executor.precision),
        started=started,
        **facts,
    )
    return _storable(result), outcome


def _way_to(error: BaseException, path: str) -> dict[str, str]:
    """The way to an error: the whole traceback, and the line of the method's own file, unless the error says it all."""
    told = writable("".join(traceback.format_exception(error)))
    return {"traceback": told[-LONGEST:], "where": line_of(error, path)}


def _storable(result: Result) -> Result:
    """The result; failed, if what the method reported is nothing that a file can hold and give back."""
    try:
        Result.model_validate_json(result.model_dump_json())
    except (ValueError, RecursionError) as error:
        reason = f"what the method reported cannot be stored: {in_words(error).splitlines()[0]}"
        nothing = {"tasks": {}, "validation": {}, "diagnostics": {}}
        return result.model_copy(update={"status": "failed", "error": reason, **nothing})
    return result


# These two are part of a cell's source, which the making of a result is not.
def _evaluate(
    executor: Executor, cell: Cell, merged: Merged, on_task: Callable[[str], None]
) -> tuple[Evaluation, Cost]:
    variant = cell.variant
    return executor.evaluate(merged.states, variant.evaluate, corruption=variant.corruption, on_task=on_task)


def _validate(executor: Executor, cell: Cell, merged: Merged) -> dict[str, TaskScore]:
    return executor.evaluate(merged.states, cell.variant.evaluate, "validation")[0].scores


def _place(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Where a cell stands in its suite or study, which may grow or change around it while its result stays the same."""
    variant = cell.variant
    return {
        "point": dict(variant.point),
        "position": bench.variants.index(variant) if variant in bench.variants else 0,
        "varied": sorted({n for v in bench.variants for n in v.hyperparameters} & set(cell.hyperparameters)),
        "steps": variant.steps,
    }


def _beside(scores: Mapping[str, TaskScore], experts: Mapping[str, TaskScore]) -> dict[str, TaskScore]:
    """The scores with the experts' counts beside them, where those are known."""
    return {
        task: score.model_copy(update={"expert_correct": experts[task].correct if task in experts else None})
        for task, score in scores.items()
    }
