"""`mergebench run --dry-run`: what a run would do, told without doing it."""

import json
from collections.abc import Sequence
from statistics import median

from mergebench.cli.amounts import in_time
from mergebench.cli.progress import headline
from mergebench.cli.saying import say
from mergebench.measuring.results import ResultStore
from mergebench.running.planned import Cell, Plan


def show_plan(plan: Plan, store: ResultStore) -> None:
    """Print the cells of every method, how many of them are still to be computed, with which settings and variants.

    Args:
        plan: checked in full, weights and images included.
        store: where results would be; it is read, not written.
    """
    found = [(cell, *store.look(cell.key)) for cell in plan.cells]
    for _, _, fault in found:
        if fault:
            say(f"{fault}; it would be measured again")
    todo = [cell for cell, result, _ in found if result is None]
    say(headline(plan, todo))
    for sentence in (*plan.code, *plan.left_out):
        say(f"  {sentence}")
    by_method: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        by_method.setdefault(cell.card.name, []).append(cell)
    width = max(map(len, by_method))
    for name, cells in by_method.items():
        left = sum(cell.card.name == name for cell in todo)
        say(f"  {name:<{width}}  {len(cells):4} cells ({left} to compute)  {_settings(cells)}".rstrip())
    variants = dict.fromkeys(cell.variant.name for cell in plan.cells if cell.card.role == "method")
    named = [name for name in variants if name]
    if named:
        say(f"{len(named)} variant{'s' * (len(named) > 1)}: {'; '.join(named)}")
    if todo:
        say(expected(todo, store))
    say("nothing was run")


def expected(todo: Sequence[Cell], store: ResultStore) -> str:
    """How long cells will take, by what cells of the same methods took on the same suite and zoo; a sentence.

    Args:
        todo: the cells.
        store: of the results that there are.
    """
    took: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for result in store.all():
        if result.merge and result.evaluation:
            seconds = result.merge.seconds, result.evaluation.seconds
            took.setdefault((result.method, result.suite, result.zoo), []).append(seconds)
    total, known, merged = 0.0, 0, set()
    for cell in todo:
        past = took.get((cell.key.method, cell.key.suite, cell.key.zoo))
        if past is None:
            continue
        known += 1
        merge, evaluation = (median(part) for part in zip(*past, strict=True))
        # Cells that differ in their test images alone share a merge.
        one = json.dumps([cell.card.name, cell.hyperparameters, cell.seed, cell.variant.merge_identity], default=str)
        total += evaluation + merge * (one not in merged)
        merged.add(one)
    if not known:
        return "how long it takes is not known: nothing like it has been run into this folder"
    which = "" if known == len(todo) else f" for {known} of {len(todo)} cells, the others not being known"
    return f"about {in_time(total)}{which}, by what such cells took before"


def _settings(cells: list[Cell]) -> str:
    """All hyper-parameters, with every value that they take in these cells."""
    values: dict[str, dict[str, None]] = {}
    for cell in cells:
        for name, value in cell.hyperparameters.items():
            values.setdefault(name, {})[str(value)] = None
    return " ".join(f"{name}={','.join(taken)}" for name, taken in values.items())
