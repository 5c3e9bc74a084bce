"""`mergebench run --dry-run`: what a run would do, told without doing it."""

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
    say("nothing was run")


def _settings(cells: list[Cell]) -> str:
    """All hyper-parameters, with every value that they take in these cells."""
    values: dict[str, dict[str, None]] = {}
    for cell in cells:
        for name, value in cell.hyperparameters.items():
            values.setdefault(name, {})[str(value)] = None
    return " ".join(f"{name}={','.join(taken)}" for name, taken in values.items())
