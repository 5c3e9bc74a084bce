"""What a module of the tiny world says of its task: its card's text, its captions' words, and how it draws."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mergebench.data.task import TaskCard
from mergebench.tasks.tiny.rendering import Renderer

SPLITS = {"train": 6000, "calibration": 600, "validation": 400, "test": 1000}

PHOTOGRAPHS = (
    "scikit-image (astronaut, camera, coffee, motorcycle, rocket), "
    "scikit-learn (china, flower), matplotlib (grace_hopper)"
)
PHOTOGRAPH_TERMS = (
    "public domain or CC0 as their packages state, except china.jpg and flower.jpg: CC BY 2.0; "
    "the packages state none for motorcycle, moon, page and grace_hopper"
)


@dataclass(frozen=True)
class Entry:
    """One task of the tiny world, all of it.

    Args:
        name, title, stands_for, classes, templates, source, licence, real, drawn, splits: as on the card.
        draw: the renderer.
        generic: what a caption calls the thing if it does not name its class ("a vehicle").
        named: how a caption says the class's name.
        weight: how often pre-training chooses the family, relative to 1; those that take long to learn come more often.
    """

    name: str
    title: str
    stands_for: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    draw: Renderer
    source: str
    licence: str
    real: str
    drawn: str
    generic: tuple[str, ...]
    named: tuple[str, ...] = ("{}",)
    weight: float = 1.0
    splits: Mapping[str, int] = field(default_factory=lambda: dict(SPLITS))

    def card(self) -> TaskCard:
        """The public card."""
        return TaskCard(
            name=self.name,
            title=self.title,
            stands_for=self.stands_for,
            classes=self.classes,
            templates=self.templates,
            splits=self.splits,
            source=self.source,
            licence=self.licence,
            real=self.real,
            drawn=self.drawn,
        )
