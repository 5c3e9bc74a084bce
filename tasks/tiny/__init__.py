"""The tiny world: small tasks at 32x32 from data that pip dependencies carry, each in the place of a CLIP task."""

from mergebench.data.task import Task
from mergebench.tasks.tiny.cards import ENTRIES, WITHOUT_EXPERT
from mergebench.tasks.tiny.families.entry import Entry
from mergebench.tasks.tiny.rendering import SEED, Rendered

__all__ = ["RENDERED", "TASKS", "UNRELATED"]

VERSION = 3  # raise it whenever a renderer would give other pixels
FIRST_WITHOUT_EXPERT = 100  # the numbers below are those of tasks with an expert

NUMBERS = dict(enumerate(ENTRIES)) | dict(enumerate(WITHOUT_EXPERT, start=FIRST_WITHOUT_EXPERT))
RENDERED = {e.name: Rendered(number, e.draw, len(e.classes), dict(e.splits)) for number, e in NUMBERS.items()}


def _task(entry: Entry) -> Task:
    return Task(entry.card(), RENDERED[entry.name].load, f"tiny/{entry.name}/v{VERSION}/seed{SEED}")


TASKS: dict[str, Task] = {entry.name: _task(entry) for entry in ENTRIES}
UNRELATED: dict[str, Task] = {entry.name: _task(entry) for entry in WITHOUT_EXPERT}
