"""What a task is: a card that describes it and a function that gives its images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError, in_words, on_one_line

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

LONGEST = 80  # characters of a class's name that are told
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
class ImageTable:
    """A split whose images are still encoded: too many to be held in memory at once.

    Args:
        labels: int64 [N].
        decode: index -> one image, uint8 [H, W, 3], all of one size; called from several threads at once.
        told: index -> what a person finds the image by; its number, if not given.
    """

    labels: "np.ndarray"
    decode: "Callable[[int], np.ndarray]"
    told: Callable[[int], str] = "image {}".format

    def image(self, index: int) -> "np.ndarray":
        """One image.

        Raises:
            MergebenchError: it cannot be decoded.
        """
        try:
            return self.decode(index)
        except Exception as error:  # decoders raise whatever they like
            remedy = "" if isinstance(error, MergebenchError) else "; it is damaged: replace it, or remove it"
            raise MergebenchError(f"{self.told(index)} cannot be decoded: {in_words(error)}{remedy}") from error


@dataclass(frozen=True)
class Place:
    """Where a task is looked at from: what a zoo decides of its images.

    Args:
        image_size: side of the square that the zoo's encoder sees, in pixels.
        root: a folder laid out as the hub is (`datasets/owner/name`), in place of the hub; None: the hub.
        download: whether what is not there yet may be downloaded.
        allow_duplicates: whether one and the same image may be in several splits, or under several labels.
    """

    image_size: int
    root: "Path | None" = None
    download: bool = True
    allow_duplicates: bool = False


@dataclass(frozen=True)
class Task:
    """A card and its data.

    Args:
        card: the description.
        load: split name -> (images uint8 [N, H, W, 3], labels int64 [N]), or a table of images still to be decoded;
            the same bits on every call.
        fingerprint: changes whenever `load` would give other pixels; keys the image cache.
        at: place -> the task as it is there, for tasks whose images are resized or fetched; None: it is the same
            everywhere.
        origin: the hub's data set that it is from, as owner/name@commit; empty where there is none.
        carved: whether its test split is a part of its source's train split, as that is now.
        passed_over: what its source has and is not used, in words.
        duplicates: what its splits share, where that was allowed: a sentence, or nothing.
    """

    card: TaskCard
    load: "Callable[[str], tuple[np.ndarray, np.ndarray] | ImageTable]"
    fingerprint: str
    at: "Callable[[Place], Task] | None" = None
    origin: str = ""
    carved: bool = False
    passed_over: tuple[str, ...] = ()
    duplicates: str = ""

    @property
    def told(self) -> str:
        """What its data came to, in one line: classes, images of each split, and what was passed over."""
        card = self.card
        more = ", ..." if len(card.classes) > 3 else ""
        first = ", ".join(on_one_line(name, LONGEST) for name in card.classes[:3])
        told = f"task {card.name}: {len(card.classes)} classes ({first}{more}); images: "
        told += ", ".join(f"{split} {count:,}" for split, count in card.splits.items())
        extra = [f"passed over: {'; '.join(self.passed_over)}"] * bool(self.passed_over)
        return "; ".join([told, *extra, *([self.duplicates] if self.duplicates else [])])
