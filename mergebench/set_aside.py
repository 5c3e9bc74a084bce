"""What was set aside for the test when weights were trained: where it is no longer, what is tested on was learnt.

A source's own test split stays what it is. Where it has none, a part of its train split is set aside
(`data/splits.py`), and another part as soon as there is one image more or less. An expert's header notes which it was
(`held_out`: task -> digest of the test split), and of what it was trained on (`tasks`); whatever is made from it
inherits that. A file that notes nothing is taken at its word.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from mergebench.errors import MergebenchError
from mergebench.image_cache import load_split
from mergebench.states import LazyState, recipe_of
from mergebench.task import Task


def set_aside(tasks: Iterable[Task]) -> dict[str, str]:
    """What an expert's header notes: task -> digest of its test split, of tasks whose source has none of its own."""
    return {task.card.name: load_split(task, "test").digest for task in tasks if task.carved}


def notes_set_aside(state: Mapping[str, Tensor]) -> bool:
    """Whether weights, as they are read from their file, say what was set aside."""
    return isinstance(recipe_of(state).get("held_out"), dict)


def inherited(parts: Iterable[LazyState]) -> dict[str, Any]:
    """What the header of a file notes that is made from others: the `held_out` and `tasks` of all, if any notes them.

    Args:
        parts: as they are read from their files; one that notes nothing adds nothing.

    Raises:
        MergebenchError: two for which different images of one task were set aside.
    """
    noting = {part.path: recipe_of(part) for part in parts if notes_set_aside(part)}
    said: dict[str, tuple[object, str | None]] = {}
    for path, recipe in noting.items():
        for task in (*recipe["held_out"], *recipe.get("tasks", ())):
            digest = recipe["held_out"].get(task)  # None: its source had a test split of its own
            other, known = said.setdefault(task, (path, digest))
            if digest != known:
                raise MergebenchError(
                    f"{other} and {path} were trained when different images of task {task!r} were set aside for the "
                    "test, so what is made from both can be tested on neither; fine-tune one of them again"
                )
    if not noting:
        return {}
    tasks = {task for recipe in noting.values() for task in recipe.get("tasks", ())}
    return {"tasks": sorted(tasks), "held_out": {task: digest for task, (_, digest) in said.items() if digest}}


def check_set_aside(
    who: str, state: Mapping[str, Tensor], tasks: Iterable[str], placed: Callable[[str], Task], own: str = ""
) -> None:
    """Refuses weights trained on tasks of which other images are set aside now than then.

    Args:
        who: whose weights they are, for messages.
        state: as they are read from their file; what notes nothing is taken at its word.
        tasks: what is to be evaluated.
        placed: name -> task, placed; asked for those tasks alone that concern the weights, as it may fetch their data.
        own: the task whose expert they are: its test split must be one that they note, under whatever name.

    Raises:
        MergebenchError: another test split than was noted.
    """
    if not notes_set_aside(state):
        return
    recipe = recipe_of(state)
    noted, learnt = recipe["held_out"], recipe.get("tasks", ())
    for name in tasks:
        named = name in noted or name in learnt
        if not (named or name == own):
            continue
        task, fitting = placed(name), [noted.get(name)] if named else noted.values()
        if (name in noted or task.carved) and load_split(task, "test").digest not in fitting:
            another = "" if named else f", or it is an expert of {', '.join(learnt)}"
            raise MergebenchError(
                f"{who} was trained when other images of task {name!r} were set aside for the test: its data have "
                f"changed since{another}; fine-tune it again"
            )
