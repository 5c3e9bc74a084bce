"""One cell: merged, evaluated, and written down as a result, whatever the method does."""

import hashlib
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, cast

from mergebench.errors import in_words, writable
from mergebench.measuring.evaluation import Evaluation
from mergebench.measuring.facts import Cost, Environment, TaskScore, beside
from mergebench.measuring.measure import environment
from mergebench.measuring.results import Result, Role
from mergebench.measuring.secrets import told as without_what_is_secret
from mergebench.measuring.secrets import without_secrets
from mergebench.merging.contract import PerTask
from mergebench.running.execution import Executor, Merged, Recipe
from mergebench.running.failure import line_of
from mergebench.running.planned import Cell, Plan
from mergebench.suites.bench import Bench
from mergebench.weights.states import StateDict, digest

LONGEST = 20_000  # characters of a traceback that are kept, from its end


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
        variants, and the experts' counts beside a method's, are for the runner to add, as for results that are reused.
    """
    bench, variant, card = executor.bench, cell.variant, cell.card
    started = datetime.now(UTC).isoformat(timespec="seconds")
    facts: dict[str, Any] = {"merge": None, "evaluation": None, "tasks": {}, "drawn": {}}
    outcome = None
    status: Literal["ok", "failed"]
    error: str | None
    try:
        merged = executor.merge(Recipe(card, cell.function, cell.hyperparameters, cell.seed), variant)
        facts |= {n: getattr(merged, n) for n in ("drawn", "drawn_images", "diagnostics")}
        facts["merge"] = merged.cost
        outcome, facts["evaluation"] = _evaluate(executor, cell, merged, on_task)
        if bench.study and bench.study.choose_on_validation:
            facts["validation"] = _validate(executor, cell, merged)
        facts["tasks"] = beside(outcome.scores, outcome.scores if card.role == "ceiling" else {})
        facts["merged_weights"] = weights_of(merged.states)
        status, error = "ok", None
    except KeyboardInterrupt:
        raise
    # A method is other people's code: whatever it raises must cost its own cell alone.
    except BaseException as exception:  # noqa: BLE001
        status, error = "failed", in_words(exception)
        facts |= _way_to(exception, card.path)
    where = environment(executor.device, executor.precision)
    result = _result(bench, cell, where, status, error, started, facts)
    return _storable(without_what_is_secret(result)), outcome


def died(plan: Plan, cell: Cell, why: str) -> Result:
    """The result of a cell that ended the process which computed it.

    Args:
        plan: of the cell, made in this process.
        cell: which.
        why: in words.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    facts: dict[str, Any] = {"merge": None, "evaluation": None, "tasks": {}, "drawn": {}}
    return _result(plan.workbench, cell, environment(plan.device, plan.precision), "failed", why, started, facts)


def _result(
    bench: Bench,
    cell: Cell,
    where: Environment,
    status: Literal["ok", "failed"],
    error: str | None,
    started: str,
    facts: dict[str, Any],
) -> Result:
    """A result: what a cell is, and what was found."""
    variant, card = cell.variant, cell.card
    return Result(
        status=status,
        error=error,
        method=card.name,
        title=card.title,
        paper=card.paper,
        role=cast(Role, card.role),  # `check_card` lets no other through
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
        environment=where,
        started=started,
        **facts,
    )


def weights_of(states: StateDict | PerTask) -> str:
    """The hash of what was merged; of a reference's weights for every task, one over all of them."""
    if not isinstance(states, PerTask):
        return digest(states)
    told = "|".join(f"{task}:{digest(states[task])}" for task in sorted(states))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _way_to(error: BaseException, path: str) -> dict[str, str]:
    """The way to an error: the whole traceback, and the line of the method's own file, unless the error says it all."""
    # Before it is cut, which might leave half of a secret.
    told = without_secrets(writable("".join(traceback.format_exception(error))))
    return {"traceback": told[-LONGEST:], "where": line_of(error, path)}


def _storable(result: Result) -> Result:
    """The result; failed, if what the method reported is nothing that a file can hold and give back."""
    try:
        Result.model_validate_json(result.model_dump_json())
    except (ValueError, RecursionError) as error:
        reason = f"what the method reported cannot be stored: {in_words(error).splitlines()[0]}"
        nothing: dict[str, dict[str, Any]] = {"tasks": {}, "validation": {}, "diagnostics": {}}
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
