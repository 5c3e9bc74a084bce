"""Decoded images on disk: rendered or decoded once, then memory-mapped by every method, seed and process."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from mergebench.corruption import Corruption, corrupt
from mergebench.errors import MergebenchError
from mergebench.states import writing
from mergebench.task import SPLITS, Task


@dataclass(frozen=True)
class Split:
    """One split of a task.

    Args:
        images: uint8 [N, H, W, 3], memory-mapped.
        labels: int64 [N].
        digest: SHA-256 (16 hex digits) of both.
    """

    images: np.ndarray
    labels: np.ndarray
    digest: str


def cache_root() -> Path:
    """Where decoded images are kept: `MERGEBENCH_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MERGEBENCH_CACHE") or platformdirs.user_cache_dir("mergebench"))


def load_split(task: Task, split: str) -> Split:
    """A task's split from the cache, decoded first if it is not there.

    The file with the digest is written last and each file appears whole, so an interrupted build is built again.

    Raises:
        MergebenchError: no such split, data that contradict the card, or a cache that cannot be written.
    """
    if split not in SPLITS:
        raise MergebenchError(f"no split {split!r}; there are: {', '.join(SPLITS)}")
    folder = cache_root() / "images" / f"{task.card.name}-{task.fingerprint}"
    paths = [folder / f"{split}.{part}" for part in ("images.npy", "labels.npy", "json")]
    if not _complete(paths):
        images, labels = task.load(split)
        _check(task, split, images, labels)
        for path, array in zip(paths, (images, labels), strict=False):
            with writing(path) as temporary, temporary.open("wb") as file:
                np.save(file, array)
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]
        with writing(paths[2]) as temporary:
            temporary.write_text(json.dumps({"digest": digest, "bytes": [p.stat().st_size for p in paths[:2]]}))
    digest = json.loads(paths[2].read_text())["digest"]
    return Split(np.load(paths[0], mmap_mode="r"), np.load(paths[1]), digest)


def corrupted_split(task: Task, split: str, clean: Split, corruption: Corruption, severity: int) -> Split:
    """A split under a corruption, made the first time and kept in the cache.

    Args:
        task, split, clean: whose images.
        corruption: which.
        severity: 1 to 5.

    Raises:
        MergebenchError: no such severity, or a cache that cannot be written.
    """
    folder = cache_root() / "images" / f"{task.card.name}-{task.fingerprint}"
    path = folder / f"{split}.{corruption.label(severity)}.images.npy"
    # An image keeps its size, so a whole file is as long as that of the clean images.
    if not path.exists() or path.stat().st_size != (folder / f"{split}.images.npy").stat().st_size:
        images = corrupt(corruption, clean.images, severity, f"{task.card.name}/{split}")
        with writing(path) as temporary, temporary.open("wb") as file:
            np.save(file, images)
    return Split(np.load(path, mmap_mode="r"), clean.labels, corrupted_digest(clean, corruption, severity))


def corrupted_digest(clean: Split, corruption: Corruption, severity: int) -> str:
    """The digest of a split under a corruption, known before its images are made: they are a function of these."""
    return hashlib.sha256(f"{clean.digest}|{corruption.label(severity)}".encode()).hexdigest()[:16]


def _complete(paths: list[Path]) -> bool:
    try:
        return json.loads(paths[2].read_text())["bytes"] == [p.stat().st_size for p in paths[:2]]
    except (OSError, ValueError, KeyError):
        return False


def _check(task: Task, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    card = task.card
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise MergebenchError(
            f"task {card.name!r}: split {split!r} is {images.dtype} {list(images.shape)}, not uint8 images [N, H, W, 3]"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise MergebenchError(
            f"task {card.name!r}: labels of {split!r} are {labels.dtype} {list(labels.shape)}, not whole numbers [N]"
        )
    if len(images) != card.splits[split] or len(labels) != len(images):
        raise MergebenchError(
            f"task {card.name!r}: split {split!r} has {len(images)} images and {len(labels)} labels, "
            f"but its card says {card.splits[split]}"
        )
    strange = labels[(labels < 0) | (labels >= len(card.classes))]
    if len(strange):
        raise MergebenchError(
            f"task {card.name!r}: split {split!r} has label {strange[0]}, but its card {len(card.classes)} classes"
        )
