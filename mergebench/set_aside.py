"""What was set aside for the test when an expert was trained: where it is no longer, what is tested on was learnt.

A source's own test split stays what it is. Where it has none, a part of its train split is set aside
(`data/splits.py`), and another part as soon as there is one image more or less.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from mergebench.errors import MergebenchError
from mergebench.image_cache import load_split
from mergebench.states import recipe_of
from mergebench.task import Task


def set_aside(tasks: Iterable[Task]) -> dict[str, str]:
    """What an expert's header notes: task -> digest of its test split, of tasks whose source has none of its own."""
    return {task.card.name: load_split(task, "test").digest for task in tasks if task.carved}


def check_set_aside(who: str, state: Mapping[str, Tensor], tasks: Iterable[Task]) -> None:
    """Refuses an expert of tasks of which other images are set aside now than when it was trained.

    Args:
        who: whose weights they are, for messages.
        state: as they are read from its file; one that notes nothing is taken at its word.
        tasks: what is to be evaluated, placed.

    Raises:
        MergebenchError: another test split than was noted.
    """
    recipe = recipe_of(state)
    noted = recipe.get("held_out")
    if noted is None:
        return
    for task in tasks:
        name = task.card.name
        concerned = name in noted or (task.carved and name in recipe.get("tasks", ()))
        if concerned and noted.get(name) != load_split(task, "test").digest:
            raise MergebenchError(
                f"{who} was trained when other images of task {name!r} were set aside for the test: its data have "
                "changed since; fine-tune it again"
            )
