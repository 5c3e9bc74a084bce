"""Decoded images on disk: rendered or decoded once, then memory-mapped by every method, seed and process."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from mergebench.configuration import file_name
from mergebench.data.array_files import PARTS, Progress, builder, in_order, progress_bar, write_images
from mergebench.data.content import KeptSplit, Split, hashed, header, looked_at, sound, tell_damaged
from mergebench.data.corruption import Corruption, corrupted
from mergebench.data.task import SPLITS, ImageTable, Task
from mergebench.errors import MergebenchError
from mergebench.weights.footing import rests_on
from mergebench.weights.sealed import read_sealed, write_sealed
from mergebench.weights.writing import writing


def cache_root() -> Path:
    """Where decoded images are kept: `MERGEBENCH_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MERGEBENCH_CACHE") or platformdirs.user_cache_dir("mergebench"))


def load_split(task: Task, split: str, progress: Progress = progress_bar) -> Split:
    """A task's split from the cache, decoded first if it is not there.

    The file with the digest is written last and each file appears whole, so an interrupted build is built again. Of
    several processes that ask at once, one decodes and the others wait. Once in a process, when images or labels are
    first asked for, the files are held to the digest, and made again if they are damaged.

    Args:
        task: whose; placed, if it has places.
        split: which.
        progress: tells how far a table of images is decoded.

    Raises:
        MergebenchError: no such split, data that contradict the card, an image that cannot be decoded, or a cache that
            cannot be written or has no room.
    """
    if split not in SPLITS:
        raise MergebenchError(f"no split {split!r}; there are: {', '.join(SPLITS)}")
    folder = _folder(task)
    paths = [folder / f"{split}.{part}" for part in PARTS]
    if not _complete(paths):
        seen = looked_at()
        if seen is not None:
            key = (str(folder), split)
            seen[key] = seen.get(key) or _looked_at(task, split, progress)
            return seen[key]
        with builder(folder, split):
            if not _complete(paths):  # another process may just have made it
                if paths[2].exists():
                    tell_damaged(f"task {task.card.name!r}, split {split!r}")
                _build(task, split, paths, progress)
    for path in paths:
        rests_on(path, alone=True)
    digest = _digest_in(paths[2])

    def opened() -> tuple[np.ndarray, np.ndarray]:
        if not sound(paths[:2], digest):
            with builder(folder, split):
                if not (_complete(paths) and sound(paths[:2], digest)):
                    tell_damaged(f"task {task.card.name!r}, split {split!r}")
                    _build(task, split, paths, progress)
            if _digest_in(paths[2]) != digest:
                raise MergebenchError(
                    f"task {task.card.name!r}: the cached images of {split!r} were damaged, and those that are there "
                    "now are others; run again with these"
                )
        return _mapped(paths)

    try:  # again: the card may say otherwise than when they were made
        _check(task, split, *_mapped(paths))
    except Exception:  # noqa: BLE001 (whatever broken files make numpy and the check stumble over: are they damaged?)
        _check(task, split, *opened())
    return KeptSplit(digest, opened)


def kept_images(task: Task, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """A split's images [N, H, W, 3], memory-mapped, and labels [N], if they are in the cache; nothing is made.

    They are not held to their digest: for what is looked at, not for what is measured.

    Args:
        task: whose; placed, if it has places.
        split: which.
    """
    paths = [_folder(task) / f"{split}.{part}" for part in PARTS]
    if not _complete(paths):
        return None
    try:
        return _mapped(paths)
    except Exception:  # noqa: BLE001 (whatever a broken header makes numpy stumble over)
        return None


def _mapped(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images, mapped, and labels; raises a ValueError of a file whose header says more than there is."""
    return np.load(paths[0], mmap_mode="r"), np.array(np.load(paths[1], mmap_mode="r"))


def _digest_in(path: Path) -> str:
    """The digest that was written behind a split's arrays; empty where that file is damaged."""
    return str(read_sealed(path).get("digest", ""))


def _looked_at(task: Task, split: str, progress: Progress) -> Split:
    """Digest and labels of a split that is not to be kept; its images are gone."""
    found, sha = task.load(split), hashlib.sha256()
    if isinstance(found, ImageTable):
        labels = found.labels
        _check_labels(task, split, len(labels), labels)
        shape, decoded = _decoded(task, split, found)
        for _ in hashed(progress(decoded, len(labels), f"{task.card.name}: {split}"), sha):
            pass
    else:
        images, labels = found
        _check(task, split, images, labels)
        shape = images.shape[1:]
        sha.update(images.tobytes())
    sha.update(labels.tobytes())
    return Split(np.empty((0, *shape), np.uint8), labels, sha.hexdigest()[:16])


def _build(task: Task, split: str, paths: list[Path], progress: Progress) -> None:
    found, sha = task.load(split), hashlib.sha256()
    if isinstance(found, ImageTable):
        labels = found.labels
        _check_labels(task, split, len(labels), labels)
        shape, decoded = _decoded(task, split, found)
        told = progress(decoded, len(labels), f"{task.card.name}: {split}")
        write_images(paths[0], hashed(told, sha), (len(labels), *shape))
    else:
        images, labels = found
        _check(task, split, images, labels)
        write_images(paths[0], hashed(images, sha), images.shape)
    with writing(paths[1]) as temporary, temporary.open("wb") as file:
        np.save(file, labels)
    sha.update(labels.tobytes())
    _finish(paths[2], sha.hexdigest()[:16], paths[:2])


def _finish(path: Path, digest: str, arrays: list[Path]) -> None:
    """Write, last of all, what a split's arrays are held to."""
    sizes, headers = [p.stat().st_size for p in arrays], [header(p) for p in arrays]
    write_sealed(path, {"digest": digest, "bytes": sizes, "headers": headers})


def _decoded(task: Task, split: str, table: ImageTable) -> tuple[tuple[int, ...], Iterator[np.ndarray]]:
    """The shape of a table's images, and the images in order."""
    told = table.told
    table = replace(table, told=lambda index: f"task {task.card.name!r}, split {split!r}: {told(index)}")

    def checked(index: int) -> np.ndarray:
        made = table.image(index)
        if made.dtype != np.uint8 or made.shape != first.shape or made.ndim != 3 or made.shape[2] != 3:
            raise MergebenchError(
                f"{table.told(index)} is {made.dtype} {list(made.shape)}, "
                f"not uint8 [H, W, 3] as large as the first, {list(first.shape)}"
            )
        return made

    first = table.image(0)
    return first.shape, in_order(checked, len(table.labels))


def corrupted_split(task: Task, split: str, clean: Split, corruption: Corruption, severity: int) -> Split:
    """A split under a corruption, made the first time and kept in the cache.

    Args:
        task, split, clean: whose images.
        corruption: which.
        severity: 1 to 5.

    Raises:
        MergebenchError: no such severity, or a cache that cannot be written or has no room.
    """
    folder, name = _folder(task), f"{split}.{corruption.label(severity)}"
    path, told = folder / f"{name}.images.npy", folder / f"{name}.json"

    def whole() -> bool:  # where an earlier version left no digest, nobody knows what these are
        return _as_noted(read_sealed(told), [path]) and sound([path], _digest_in(told))

    if not whole():
        with builder(folder, name):
            if not whole():
                if told.exists():
                    tell_damaged(f"task {task.card.name!r}, split {split!r} under {corruption.label(severity)}")
                sha = hashlib.sha256()
                images = corrupted(corruption, clean.images, severity, f"{task.card.name}/{split}")
                write_images(path, hashed(images, sha), clean.images.shape)
                _finish(told, sha.hexdigest()[:16], [path])
    return Split(np.load(path, mmap_mode="r"), clean.labels, corrupted_digest(clean, corruption, severity))


def corrupted_digest(clean: Split, corruption: Corruption, severity: int) -> str:
    """The digest of a split under a corruption, known before its images are made: they are a function of these."""
    return hashlib.sha256(f"{clean.digest}|{corruption.label(severity)}".encode()).hexdigest()[:16]


def _folder(task: Task) -> Path:
    return cache_root() / "images" / file_name(f"{task.card.name}-{task.fingerprint}")


def _complete(paths: list[Path]) -> bool:
    noted = read_sealed(paths[2])
    return "bytes" in noted and isinstance(noted.get("digest"), str) and _as_noted(noted, paths[:2])


def _as_noted(noted: Mapping[str, Any], arrays: list[Path]) -> bool:
    """Whether arrays have the sizes and headers that were noted of them, as far as they were."""
    try:
        sizes, headers = [p.stat().st_size for p in arrays], [header(p) for p in arrays]
    except OSError:
        return False
    return bool(noted.get("bytes", sizes) == sizes and noted.get("headers", headers) == headers)


def _check(task: Task, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise MergebenchError(
            f"task {task.card.name!r}: split {split!r} is {images.dtype} {list(images.shape)}, "
            "not uint8 images [N, H, W, 3]"
        )
    _check_labels(task, split, len(images), labels)


def _check_labels(task: Task, split: str, images: int, labels: np.ndarray) -> None:
    card = task.card
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise MergebenchError(
            f"task {card.name!r}: labels of {split!r} are {labels.dtype} {list(labels.shape)}, not whole numbers [N]"
        )
    if images != card.splits[split] or len(labels) != images:
        raise MergebenchError(
            f"task {card.name!r}: split {split!r} has {images} images and {len(labels)} labels, "
            f"but its card says {card.splits[split]}"
        )
    if not images:
        raise MergebenchError(f"task {card.name!r}: split {split!r} has no images")
    strange = labels[(labels < 0) | (labels >= len(card.classes))]
    if len(strange):
        raise MergebenchError(
            f"task {card.name!r}: split {split!r} has label {strange[0]}, but its card {len(card.classes)} classes"
        )
