"""What was set aside for the test when weights were trained: where it is no longer, what is tested on was learnt.

A source's own test split stays what it is. Where it has none, a part of its train split is set aside
(`data/splits.py`), and another part as soon as there is one image more or less. A file's header notes of which tasks
images went into it (`learnt`), by training or by calibration of a suite's merge, and which test splits were set aside
then (`held_out`: task -> digest). Whatever is made from it inherits that. What notes nothing is taken at its word.
"""

from collections.abc import Callable, Iterable
from typing import Any

from mergebench.data.image_cache import load_split
from mergebench.data.task import Task
from mergebench.errors import MergebenchError
from mergebench.weights.states import recipe_of


def notes_set_aside(part: Any) -> bool:
    """Whether weights, as they are read from their file, say what was set aside."""
    return isinstance(recipe_of(part).get("held_out"), dict)


def inherited(parts: Iterable[Any], tasks: Iterable[Task] = ()) -> dict[str, Any]:
    """What the header of a file notes: what all that it is made from notes, and of its own what was set aside now.

    Args:
        parts: states or heads as they are read from their files; one that notes nothing adds nothing.
        tasks: whose images enter, placed.

    Returns:
        `learnt` and `held_out`; nothing if there is nothing to note. Where parts contradict each other, `held_out` has
        all that they say, which no test split can agree with.
    """
    said: dict[str, set[str]] = {}
    for recipe in (recipe_of(part) for part in parts if notes_set_aside(part)):
        for task in (*recipe["held_out"], *_learnt(recipe)):
            noted = recipe["held_out"].get(task, "")  # "": its source had a test split of its own
            said.setdefault(task, set()).update(noted if isinstance(noted, list) else [noted])
    for task in tasks:
        said.setdefault(task.card.name, set()).add(load_split(task, "test").digest if task.carved else "")
    if not said:
        return {}
    held_out = {t: min(noted) if len(noted) == 1 else sorted(noted) for t, noted in said.items() if noted != {""}}
    return {"learnt": sorted(said), "held_out": held_out}


def check_set_aside(who: str, part: Any, tasks: Iterable[str], placed: Callable[[str], Task], own: str = "") -> None:
    """Refuses what learnt tasks of which other images are set aside now than then.

    Args:
        who: what it is, for messages.
        part: a state or a head, as it is read from its file; one that notes nothing is taken at its word.
        tasks: what is to be evaluated.
        placed: name -> task, placed; asked for those tasks alone that concern the part, as it may fetch their data.
        own: the task whose expert or head it is: its test split must be one that is noted, under whatever name.

    Raises:
        MergebenchError: another test split than was noted.
    """
    if not notes_set_aside(part):
        return
    recipe = recipe_of(part)
    noted, learnt = recipe["held_out"], _learnt(recipe)
    for name in tasks:
        named = name in noted or name in learnt
        if not (named or name == own):
            continue
        task, fitting = placed(name), [noted.get(name)] if named else noted.values()
        if (name in noted or task.carved) and load_split(task, "test").digest not in fitting:
            reason = "its data, or how they are decoded, have changed since"
            if isinstance(noted.get(name), list):
                reason = "it is made from several, for which it was not the same ones"
            elif not named:
                reason += f", or it is of {', '.join(learnt)}"
            raise MergebenchError(
                f"{who} was trained when other images of task {name!r} were set aside for the test: {reason}; "
                "fine-tune again"
            )


def made_from(part: Any) -> list[str]:
    """The tasks that the header of weights tells them to be made from, and its experts, which files may have named."""
    recipe = recipe_of(part)
    experts = recipe.get("experts")
    return sorted({*_learnt(recipe), *(experts if isinstance(experts, dict) else ())})


def _learnt(recipe: dict[str, Any]) -> list[str]:
    learnt = recipe.get("learnt", recipe.get("tasks"))
    return [task for task in learnt if isinstance(task, str)] if isinstance(learnt, list) else []
