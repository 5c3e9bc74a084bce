"""Tasks that a YAML file describes: from the description to images of one size and labels in the card's order."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.configuration import TaskConfig
from mergebench.data import labels, preprocessing, splits
from mergebench.data.task import SPLITS, ImageTable, Place, Task, TaskCard
from mergebench.errors import MergebenchError, retold

if TYPE_CHECKING:
    from mergebench.data.source import Found, Part, Source


def make_task(name: str, config: TaskConfig, folder: Path, stands_for: str = "") -> Task:
    """The task that a description means; its images can be had once it is placed (`Task.at`).

    The card is whole if the description counts the images of train (and names its classes); otherwise, once the task
    is placed.

    Args:
        name: the task's.
        config: the description.
        folder: that paths in it are relative to.
        stands_for: the CLIP task whose place it takes, if it is not its own.

    Raises:
        MergebenchError: splits or counts that do not fit together.
    """
    with _named(name):
        counts = _stated(config)
        card = TaskCard(
            name=name,
            title=config.title or name,
            stands_for=stands_for or name,
            classes=tuple(config.classes),
            templates=tuple(config.templates),
            splits=splits.sizes(counts) if counts else _tested(config),
            source=config.source or config.data,
            licence=config.licence,
            real="all of it",
            drawn="nothing",
        )

    def load(split: str) -> ImageTable:
        raise MergebenchError(f"task {name!r}: its images have no size before it is placed (Task.at)")

    return Task(card, load, fingerprint="unplaced", at=partial(_placed, card, config, folder))


def _stated(config: TaskConfig) -> dict[str, int] | None:
    """The counts of train, test and validation, if the description states what decides the splits."""
    named = {"train", *config.splits.values()} - ({"train"} if "train" in config.splits else set())
    if not named <= config.counts.keys():
        return None
    return {role: config.counts[name] for role, name in splits.roles(config.splits, config.counts).items()}


def _tested(config: TaskConfig) -> dict[str, int]:
    """The number of test images alone, where that is all the description states."""
    name = config.splits.get("test", "test")
    return {"test": config.counts[name]} if name in config.counts else {}


def _placed(card: TaskCard, config: TaskConfig, folder: Path, place: Place) -> Task:
    from mergebench.data import finding  # with what reads images; a list of tasks needs none of it

    # Of a source whose counts are stated, their splits are all that can be meant: the rest need not be fetched.
    stated = _stated(config)
    asked = set(config.counts) if stated else splits.wanted(config.splits) | config.counts.keys()
    with _named(card.name):
        found = finding.find(config, folder, place, asked, alone=stated is not None)

    @cache
    def opened() -> _Images:
        return _Images(config, found.read(asked))

    def load(split: str) -> ImageTable:
        with _named(card.name):
            return opened().table(split, place.image_size)

    local = finding.is_local(config, folder)
    whole = card.splits.keys() == set(SPLITS) and bool(card.classes)
    if not whole:
        with _named(card.name):
            images = opened()
            card = replace(card, classes=images.classes, splits=splits.sizes(images.counts))
    look = local or not whole  # what is fetched, and whose card says all, is not read to be planned with
    with _named(card.name):
        carved = "test" not in (stated or opened().counts)
        _check_passed_over(config, found, asked, stated=stated is not None, carved=carved)
        renumbered = opened().renumbered if look else labels.numbered(config.classes, config.labels)
        doubts = opened().doubts() if look else set()
        deep = preprocessing.DEPTH in doubts
    # The labels' map and the splits are functions of these, so they need not be read for it.
    identity = {
        "versions": [preprocessing.VERSION, splits.VERSION, labels.VERSION],
        "size": place.image_size,
        "source": found.identity,
        "config": config.model_dump(
            include={"data", "subset", "image", "label", "splits", "counts", "classes", "labels"}
        ),
    }
    # What did not exist, or was read otherwise, when the first keys were made; all other keys stay what they were.
    added = {"split": config.split, "alpha": config.alpha.replace("dropped", ""), "numbers": renumbered}
    added |= {"deep": deep and config.white is None}
    added |= {"white": None if config.white == preprocessing.CLIPPED else config.white}
    identity |= {name: value for name, value in added.items() if value or (name == "split" and value is not None)}
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    # The splits of what others publish are theirs: numbers of other people's rest on them, so that it is told alone.
    allowed = "allowed" if place.allow_duplicates or config.allow_duplicates else "" if local else "as published"
    with _named(card.name):
        shared = _shared(fingerprint, opened, place, bool(allowed)) if look else ""
    told = (*found.passed_over, *(opened().passed_over if look else ()))
    for field, value, doubt in (
        ("white", config.white, preprocessing.DEPTH),
        ("alpha", config.alpha, preprocessing.CLEAR),
    ):
        if look and value and doubt not in doubts:
            told = (*told, f"`{field}`, for no image that was looked at has {doubt}")
    if preprocessing.FRAMES in doubts:
        told = (*told, f"{preprocessing.FRAMES}: the first is taken")
    if deep:
        white = preprocessing.DEEP if config.white is None else config.white
        told = (*told, f"what 8 bits cannot hold, as images have more ({white:g} is white: see `white`)")
    known = {
        name.lower()
        for name in splits.roles(config.splits, stated and config.counts or opened().source_splits).values()
    }
    unused = [name for name in found.splits if name.lower() not in known]
    told = (*told, *([f"splits {', '.join(map(repr, unused))}"] if unused else []))
    return Task(
        card,
        load,
        fingerprint,
        at=partial(_placed, card, config, folder),
        origin=found.origin,
        carved=carved,
        passed_over=told,
        duplicates=shared and f"{allowed}: {shared}",
    )


def _shared(key: str, opened: Callable[[], "_Images"], place: Place, allowed: bool) -> str:
    """What the splits share, where that is allowed.

    Raises:
        MergebenchError: they share something, and it is not.
    """
    from mergebench.data import duplicates

    found = duplicates.remembered(key, None, write=False)
    if found is None:
        images = opened()
        parts = {split: images.part(split) for split in SPLITS}
        found = duplicates.remembered(key, parts, write=place.download)
    if found and not allowed:
        raise MergebenchError(
            f"{found}; remove all but one of each, or allow it (--allow-duplicates, `allow_duplicates: true`)"
        )
    return found


def _check_passed_over(config: TaskConfig, found: "Found", asked: set[str], *, stated: bool, carved: bool) -> None:
    """No split that may hold the test images is there and not taken."""
    if stated:
        left_out = splits.left_out(config.splits, config.counts, found.splits)
        if left_out is not None:
            raise MergebenchError(
                f"{config.data} has a split {left_out!r}, in whose place a part of train would be taken; name it in "
                "`counts`, or leave `counts` out"
            )
    elif carved and (strangers := sorted(splits.strangers(found.splits, asked))):
        raise MergebenchError(
            f"{config.data} has no split test, but {strangers[0]!r}; name it under `splits:`, or give `counts` of the "
            "splits that are to be used"
        )


PEEKED = 20  # classes


class _Images:
    """A source that has been read: held to the description, its labels in the card's order."""

    def __init__(self, config: TaskConfig, source: "Source") -> None:
        import numpy as np

        for split, expected in config.counts.items():
            count = len(source.parts[split].labels) if split in source.parts else None
            if count is None:
                raise MergebenchError(f"no split {split!r}; there are: {', '.join(sorted(source.parts)) or 'none'}")
            if count != expected:
                raise MergebenchError(
                    f"split {split!r} has {count:,} images, but its card says {expected:,}; get all of it, or another "
                    "version, or correct `counts`"
                )
        self._config, self.source_splits = config, set(source.parts)
        self._parts = {role: source.parts[name] for role, name in splits.roles(config.splits, source.parts).items()}
        self.counts = {role: len(part.labels) for role, part in self._parts.items()}
        used = {role: np.unique(part.labels) for role, part in self._parts.items()}
        occurring = np.unique(np.concatenate(list(used.values()))).tolist()
        self.classes = tuple(config.classes) or _classes(source, occurring)
        self._ids = labels.order(source.names, occurring, self.classes, config.labels)
        # The first version made a class of every number up to the largest, and knew no other order.
        counted = source.names is None and not config.classes and occurring != list(range(len(occurring)))
        self.renumbered = counted or labels.renumbered(source.names, occurring, self.classes, config.labels)
        if len(self.classes) < 2:
            raise MergebenchError(f"{len(self.classes)} class ({', '.join(self.classes)}); to classify takes two")
        for role, ids in used.items():
            stranger = next((i for i in ids if i not in used["train"]), None)
            if stranger is not None:
                raise MergebenchError(
                    f"class {self.classes[self._ids[stranger]]!r} is in its {role} split, but not in train"
                )
        words = source.names is None and config.labels and not labels.numbers((), config.labels)
        told = "`labels`, for the data's are bare numbers: they are taken in the order of the classes"
        self.passed_over = (told,) if words else ()

    def doubts(self) -> set[str]:
        """What the first image of each class (of twenty) is beside 8-bit RGB.

        Raises:
            MergebenchError: it can be seen in two ways, and nothing is said of that.
        """
        import numpy as np

        part = self._parts["train"]
        found = set()
        for row in np.unique(part.labels, return_index=True)[1][:PEEKED].tolist():
            try:
                image = part.image(row)
                doubt = preprocessing.in_doubt(image)
            except Exception:  # noqa: BLE001, S112 (told when it is to be decoded)
                continue
            if doubt:
                part.table(1, self._config.alpha, self._config.white).image(row)
                found.add(doubt)
            if preprocessing.several(image):
                found.add(preprocessing.FRAMES)
        return found

    def part(self, split: str) -> "Part":
        """One of this project's splits, as the source has it."""
        role, indices = splits.share(self.counts, split)
        return self._parts[role].taken(indices)

    def table(self, split: str, size: int) -> ImageTable:
        """One of this project's splits, its images still encoded."""
        table = self.part(split).table(size, self._config.alpha, self._config.white)
        return replace(table, labels=self._ids[table.labels])


def _classes(source: "Source", occurring: list[int]) -> tuple[str, ...]:
    """The data's own names of its classes; where they have none, the numbers that occur."""
    return source.names if source.names is not None else tuple(map(str, occurring))


@contextmanager
def _named(task: str) -> Iterator[None]:
    """Errors in the block say whose they are."""
    try:
        yield
    except MergebenchError as error:
        raise retold(error, f"task {task!r}: {error}") from error.__cause__
