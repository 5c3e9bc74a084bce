"""Images on their way to a file: decoded in parallel, written one by one, and never all in memory."""

import errno
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock

from mergebench.errors import MergebenchError
from mergebench.weights.writing import put_aside, writing

PARTS = ("images.npy", "labels.npy", "json")  # the files of a split

Item = TypeVar("Item")
# (items, their number, what they are) -> the same items, while somebody is told how far they are.
Progress = Callable[[Iterable[np.ndarray], int, str], Iterable[np.ndarray]]


def write_images(path: Path, images: Iterable[np.ndarray], shape: tuple[int, ...]) -> None:
    """A `.npy` file, byte for byte as `np.save` would write it, that appears when it is whole.

    Args:
        path: where to.
        images: uint8 [H, W, 3] each.
        shape: (N, H, W, 3) of all of them.

    Raises:
        MergebenchError: the place cannot be written, or has no room.
    """
    needed = int(np.prod(shape, dtype=np.int64))
    with writing(path) as temporary:
        if shutil.disk_usage(path.parent).free < needed:
            raise _no_room(path, needed)
        try:
            with temporary.open("wb") as file:
                # Written, not mapped: a map's pages would count as memory held, and a full disk would end the process.
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
                )
                for image in images:
                    file.write(np.ascontiguousarray(image).data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_room(path, needed) from None
            raise


def _no_room(path: Path, needed: int) -> MergebenchError:
    return MergebenchError(
        f"cannot write {path}: it needs {needed:,} bytes, and the disk has no room for them; "
        "make room, or name another folder in MERGEBENCH_CACHE"
    )


def in_order(function: Callable[[int], Item], count: int) -> Iterator[Item]:
    """function(0), function(1), ..., computed by one thread per core, a few ahead of the one that is asked for.

    Threads: decoders and resizers let go of Python's lock, and on two cores processes are no faster (455 JPEGs a second
    either way).
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ahead: deque[Future[Item]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for index in range(count):
            ahead.append(pool.submit(function, index))
            if len(ahead) > 8 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def builder(folder: Path, name: str) -> Iterator[None]:
    """While the block runs, no other process builds the files of this name; what a dead one left of them is removed.

    Raises:
        MergebenchError: the folder cannot be written.
    """
    lock = FileLock(folder / f".{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise MergebenchError(f"cannot write {folder}: {error.strerror}; choose a folder you may write to") from None
    try:
        for part in PARTS:
            for left in folder.glob(f".{escape(name)}.{part}.*"):  # `writing` puts letters behind a file's name
                left.unlink(missing_ok=True)
            put_aside(folder / f"{name}.{part}")
        yield
    finally:
        lock.release()


def progress_bar(images: Iterable[np.ndarray], total: int, what: str) -> Iterable[np.ndarray]:
    """A bar on the terminal, if standard error is one; it is gone when all is done."""
    if not sys.stderr.isatty():
        return images
    from rich.console import Console
    from rich.progress import track

    return track(images, what, total, console=Console(stderr=True), transient=True)
