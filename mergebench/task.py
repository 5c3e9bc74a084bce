"""What a task is: a card that describes it and a function that gives its images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True)
class TaskCard:
    """What a reader must know of a task before believing a number on it.

    Args:
        name: the task's identifier, in lower case with hyphens.
        title: its name for people.
        stands_for: the CLIP task whose place it takes, or its own name.
        classes: class names, in the order of the label ids.
        templates: prompt templates, each with one `{}` for the class name.
        splits: number of images of each split.
        source: where the pixels come from.
        licence: under which terms.
        real: what in the images is photographed, scanned or written by people.
        drawn: what is generated.
    """

    name: str
    title: str
    stands_for: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    splits: Mapping[str, int]
    source: str
    licence: str
    real: str
    drawn: str


@dataclass(frozen=True)
class Task:
    """A card and its data.

    Args:
        card: the description.
        load: split name -> (images uint8 [N, H, W, 3], labels int64 [N]); the same bits on every call.
        fingerprint: changes whenever `load` would give other pixels; keys the image cache.
    """

    card: TaskCard
    load: Callable[[str], "tuple[np.ndarray, np.ndarray]"]
    fingerprint: str
