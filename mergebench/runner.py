"""Running a plan: cell by cell, each result written the moment it is known, what is done skipped."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mergebench.errors import MergebenchError
from mergebench.evaluation import Evaluation, evaluate
from mergebench.measure import environment, measure
from mergebench.merging import run_method
from mergebench.plan import Cell, Plan
from mergebench.results import Result, ResultStore, TaskScore


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

    def start(self, plan: Plan, todo: int) -> None:
        """The run begins; `todo` cells are not done yet."""

    def cell(self, cell: Cell) -> None:
        """A cell begins to merge."""

    def task(self, cell: Cell, task: str) -> None:
        """A cell has been evaluated on a task."""

    def done(self, cell: Cell, result: Result, reused: bool) -> None:
        """A cell is stored."""


def run(plan: Plan, store: ResultStore, observer: Observer | None = None) -> Summary:
    """Run all cells that are not done; a cell that fails is recorded and costs itself alone.

    Args:
        plan: the cells.
        store: where results are.
        observer: told of progress.

    Raises:
        MergebenchError: the store cannot be written.
    """
    observer = observer or Observer()
    start = time.perf_counter()
    summary = Summary()
    found = [store.finished(cell.key) for cell in plan.cells]
    observer.start(plan, sum(r is None for r in found))
    ceilings: dict[int, Result] = {}
    for cell, result in zip(plan.cells, found, strict=True):
        reused = result is not None
        if result is None:
            observer.cell(cell)
            ceiling = ceilings.get(cell.seed)
            result, predictions = run_cell(plan, cell, ceiling, lambda task, cell=cell: observer.task(cell, task))
            store.write(cell.key, result, predictions)
        if cell.card.role == "ceiling" and result.status == "ok":
            ceilings[cell.seed] = result
        summary.results.append(result)
        summary.reused += reused
        observer.done(cell, result, reused)
    summary.seconds = time.perf_counter() - start
    return summary


def run_cell(
    plan: Plan, cell: Cell, ceiling: Result | None, on_task: Callable[[str], None] = lambda task: None
) -> tuple[Result, dict[str, np.ndarray]]:
    """Merge and evaluate one cell.

    Args:
        plan: its plan.
        cell: what to run.
        ceiling: the experts' own result, for relative accuracies; None while that one is itself measured.
        on_task: called as each task has been evaluated.

    Returns:
        The result (failed, with the reason, if the method raised) and the predictions.
    """
    bench = plan.bench
    started = datetime.now(UTC).isoformat(timespec="seconds")
    facts: dict[str, Any] = {"merge": None, "evaluation": None, "tasks": {}, "drawn": {}, "diagnostics": {}}
    predictions: dict[str, np.ndarray] = {}
    try:
        pool, sources = bench.pool(cell.card.name, cell.needs, cell.seed, plan.device)
        with measure(plan.device) as merging:
            states = run_method(cell.function, pool, cell.hyperparameters)
        facts["merge"] = merging.cost
        facts["drawn"] = {name: s.fingerprint for name, s in sources.items() if s.fingerprint}
        facts["diagnostics"] = pool.diagnostics
        heads = {t: bench.heads[t] for t in bench.suite.evaluated if cell.card.role != "ceiling" or t in bench.experts}
        splits = {t: bench.split(t, "test") for t in heads}
        config = bench.zoo.config
        with measure(plan.device) as evaluation:
            outcome = evaluate(
                bench.zoo.make_empty_encoder(),
                states,
                heads,
                splits,
                mean=config.mean,
                std=config.std,
                device=plan.device,
                on_task=on_task,
            )
        facts["evaluation"] = evaluation.cost
        facts["tasks"] = _scores(outcome, ceiling if cell.card.role != "ceiling" else outcome)
        predictions = outcome.predictions
        status, error = "ok", None
    # A method is other people's code: whatever it raises must cost its own cell alone.
    except Exception as exception:  # noqa: BLE001
        status, error = "failed", f"{type(exception).__name__}: {exception}"
        if isinstance(exception, MergebenchError):
            error = str(exception)
    card = cell.card
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
        hyperparameters=cell.hyperparameters,
        suite=bench.name,
        zoo=bench.zoo.name,
        variant=cell.key.variant,
        seed=cell.seed,
        weights=dict(cell.key.weights),
        data=dict(cell.key.data),
        environment=environment(plan.device),
        started=started,
        **facts,
    )
    return result, predictions


def _scores(outcome: Evaluation, ceiling: Evaluation | Result | None) -> dict[str, TaskScore]:
    """The scores with the experts' counts beside them, where those are known."""
    experts: Mapping[str, TaskScore] = {}
    if isinstance(ceiling, Evaluation):
        experts = ceiling.scores
    elif ceiling is not None:
        experts = ceiling.tasks
    return {
        task: score.model_copy(update={"expert_correct": experts[task].correct if task in experts else None})
        for task, score in outcome.scores.items()
    }
