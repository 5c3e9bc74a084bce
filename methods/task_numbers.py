"""One number for every task, as a person gives it: a list in the tasks' order, or task -> number."""

from collections.abc import Mapping, Sequence

from mergebench.errors import HyperparameterError


def in_task_order(given: Mapping[str, float] | Sequence[float], tasks: Sequence[str], what: str) -> list[float]:
    """The numbers in the order of the tasks.

    Args:
        given: task -> number, or the numbers [T].
        tasks: names [T].
        what: method and hyper-parameter, for messages ("average: weights").

    Raises:
        HyperparameterError: a task without number, or a number without task.
    """
    names = ", ".join(tasks)
    if not isinstance(given, Mapping):
        if len(given) != len(tasks):
            raise HyperparameterError(
                f"{what}={list(given)} has {len(given)} numbers, but {len(tasks)} experts are merged; give one for "
                f"each, in the order {names}"
            )
        return list(given)
    for task in given:
        if task not in tasks:
            raise HyperparameterError(f"{what} names {task!r}, which is not merged; name {names}")
    for task in tasks:
        if task not in given:
            raise HyperparameterError(f"{what} lacks {task!r}; give it one, 0 to leave it out")
    return [given[task] for task in tasks]
