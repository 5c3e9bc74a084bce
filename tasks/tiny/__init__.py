"""The tiny world: small tasks at 32x32 from data that pip dependencies carry, each in the place of a CLIP task."""

from mergebench.task import Task
from mergebench.tasks.tiny.cards import ENTRIES
from mergebench.tasks.tiny.rendering import SEED, Rendered

__all__ = ["RENDERED", "TASKS"]

VERSION = 2  # raise it whenever a renderer would give other pixels

CARDS = {entry.name: entry.card() for entry in ENTRIES}
RENDERED = {
    entry.name: Rendered(number, entry.module.draw, len(entry.module.CLASSES), dict(CARDS[entry.name].splits))
    for number, entry in enumerate(ENTRIES)
}
TASKS: dict[str, Task] = {
    name: Task(card, RENDERED[name].load, f"tiny/{name}/v{VERSION}/seed{SEED}") for name, card in CARDS.items()
}
