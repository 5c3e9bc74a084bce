"""What is in the image cache, held to its digest: files of the right size may hold anything."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

CHUNK = 1 << 24  # bytes hashed at a time

# Digests, and files that were held to them in this process, as they were then.
_known: set[tuple[str, str, int, int, int]] = set()


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


class KeptSplit(Split):
    """A split in the cache whose files are held to the digest when images or labels are first asked for.

    A plan asks for digests alone, and does not wait.

    Args:
        digest: as it stands in the cache.
        opened: gives images and labels, sound ones.
    """

    _opened: Callable[[], tuple[np.ndarray, np.ndarray]]

    def __init__(self, digest: str, opened: Callable[[], tuple[np.ndarray, np.ndarray]]) -> None:
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "_opened", opened)

    @cached_property
    def _both(self) -> tuple[np.ndarray, np.ndarray]:
        return self._opened()

    @property
    def images(self) -> np.ndarray:
        """uint8 [N, H, W, 3], memory-mapped."""
        return self._both[0]

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return self._both[1]

    def __reduce__(self) -> tuple[type[Split], tuple[np.ndarray, np.ndarray, str]]:
        return Split, (self.images, self.labels, self.digest)


# What was found of splits in this process while nothing may be kept: digest and labels, by folder and split.
_looked_at: ContextVar[dict[tuple[str, str], Split] | None] = ContextVar("looked_at", default=None)


@contextmanager
def nothing_kept() -> Iterator[None]:
    """While the block runs, what is not in the cache is decoded for its digest alone, and nothing is written there."""
    token = _looked_at.set({})
    try:
        yield
    finally:
        _looked_at.reset(token)


def looked_at() -> dict[tuple[str, str], Split] | None:
    """Where splits that are not kept are noted; None where all is kept."""
    return _looked_at.get()


def hashed(images: Iterable[np.ndarray], sha: "hashlib._Hash") -> Iterator[np.ndarray]:
    """The same images, which the hash has seen: their file need not be read again."""
    for image in images:
        sha.update(np.ascontiguousarray(image).data)
        yield image


def sound(paths: list[Path], digest: str) -> bool:
    """Whether arrays are those of a digest; each file is read once in a process, as long as nobody touches it.

    Args:
        paths: `.npy` files, hashed one after the other.
        digest: SHA-256 of their elements, first 16 hex digits.
    """
    try:
        marks = [(digest, *_mark(path)) for path in paths]
        if _known.issuperset(marks):
            return True
        sha = hashlib.sha256()
        for path in paths:
            array = np.load(path, mmap_mode="r")
            step = max(1, CHUNK // max(1, array[:1].nbytes))
            for start in range(0, len(array), step):
                sha.update(np.ascontiguousarray(array[start : start + step]).data)
    except Exception:  # noqa: BLE001 (whatever a broken header makes numpy stumble over)
        return False
    if sha.hexdigest()[:16] != digest:
        return False
    _known.update(marks)
    return True


def _mark(path: Path) -> tuple[str, int, int, int]:
    found = path.stat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns


def header(path: Path) -> str:
    """The header of a `.npy` file, as hex digits: what its bytes are taken for is no part of their digest.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(10)
        return (start + file.read(int.from_bytes(start[8:], "little"))).hex()


def tell_damaged(what: str) -> None:
    """Say on the error output that images are made again."""
    print(f"mergebench: the cached images of {what} are damaged; they are made again", file=sys.stderr, flush=True)
