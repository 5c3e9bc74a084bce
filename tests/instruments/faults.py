"""Faults at every point at which a piece of work changes a disk: killed, cut off from its power, refused by the system.

The calls that change files are counted; at the n-th the fault strikes, for n = 1, 2, ... until the work ends by itself.
Of a write that is struck half of the bytes are written. What native code writes is not seen, but the making of its
file, the syncing and the renaming are. Killed is a child, by SIGKILL.
"""

import builtins
import errno
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mergebench.errors import MergebenchError

CHANGING = ("replace", "rename", "link", "unlink", "remove", "rmdir", "mkdir", "chmod", "fsync", "write", "truncate")
REAL = SimpleNamespace(**{name: getattr(os, name) for name in ("open", "utime", *CHANGING)}, file=io.open)
# What a full disk, and what a disk that may only be read, have nothing against.
HARMLESS = {
    errno.ENOSPC: ("unlink", "remove", "rmdir", "chmod", "look"),
    errno.EROFS: ("fsync", "look"),
    errno.EACCES: ("fsync", "write"),
    errno.EIO: (),
}
FAULTS = ("kill", "power cut", "power cut, names too", *HARMLESS)


class _Raw(io.FileIO):
    """A file whose writes are points."""

    def __init__(self, file: Any, mode: str, point: Callable[..., None]) -> None:
        self._point = None
        super().__init__(file, mode)
        self._point = point

    def write(self, data: Any) -> int:
        self._point("write", self.name, lambda: super(_Raw, self).write(bytes(data)[: len(bytes(data)) // 2]))
        return super().write(data)


@contextmanager
def watched(point: Callable[..., None]) -> Iterator[None]:
    """While the block runs, `point(name, place, half)` is called before every call that changes files."""

    def opened(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+") or isinstance(file, int):
            return REAL.file(file, mode, buffering, *rest, **options)
        point("create", file, None)
        raw = _Raw(file, mode.replace("b", "").replace("t", ""), point)
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **options)

    def os_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            point("create", path, None)
        elif os.path.isdir(path):  # to be held, or synced; a file that is only read changes nothing
            point("look", path, None)
        return REAL.open(path, flags, *rest, **options)

    def of(name: str) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            half = partial(REAL.write, given[0], bytes(given[1])[: len(given[1]) // 2]) if name == "write" else None
            point(name, given[0] if name not in ("replace", "rename") else given[:2], half)
            return getattr(REAL, name)(*given, **options)

        return call

    patches = [(io, "open", opened), (builtins, "open", opened), (os, "open", os_open)]
    patches += [(os, name, of(name)) for name in CHANGING]
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    for module, name, value in patches:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class Disk:
    """What is not on the disk yet, of all that was done: contents that were not synced, names whose folder was not."""

    def __init__(self) -> None:
        self.dirty: set[tuple[int, int]] = set()
        self.undo: list[tuple[str, Callable[[], object]]] = []
        self.made: Any = None

    def catch_up(self) -> None:
        """Note what the last call has made, now that it was made."""
        if self.made is not None:
            with suppress(OSError):
                self.dirty.add(_inode(self.made))
        self.made = None

    def note(self, name: str, place: Any) -> None:
        """A call comes."""
        if name == "fsync":
            found = os.fstat(place)
            self.dirty.discard((found.st_dev, found.st_ino))
            here = os.path.realpath(f"/proc/self/fd/{place}")
            self.undo = [entry for entry in self.undo if entry[0] != here]
        elif name == "create":
            self.made = place
        elif name in ("replace", "rename"):
            source, target = (os.path.abspath(p) for p in place)
            held = Path(target).read_bytes() if os.path.isfile(target) else None
            self.undo.append((os.path.realpath(os.path.dirname(target)), partial(_renamed_back, source, target, held)))
        elif name == "mkdir" and not os.path.lexists(place):
            parent = os.path.realpath(os.path.dirname(os.path.abspath(place)))
            self.undo.append((parent, partial(shutil.rmtree, os.path.abspath(place), ignore_errors=True)))

    def cut(self, root: Path, names: bool) -> None:
        """The power goes: what was not synced is empty, and with `names` what was not entered in a folder is gone."""
        for _, undo in reversed(self.undo if names else []):
            with suppress(OSError):
                undo()
        for path in root.rglob("*"):
            if path.is_file() and _inode(path) in self.dirty:
                REAL.truncate(path, 0)


def _inode(place: Any) -> tuple[int, int]:
    found = os.stat(place)
    return found.st_dev, found.st_ino


def _renamed_back(source: str, target: str, held: bytes | None) -> None:
    REAL.rename(target, source)
    if held is not None:
        with REAL.file(target, "wb") as file:
            file.write(held)


class Dead(BaseException):
    """From here on nothing changes a disk any more: as if there were no process."""


def struck(work: Callable[[], object], number: int, fault: "str | int", root: Path) -> tuple[bool, str]:
    """Do a piece of work, with a fault at its n-th point.

    Args:
        work: what is done; whatever it returns is lost.
        number: of the point, from 1.
        fault: of `FAULTS`; a number is an error of the system's, which goes on from there but for EIO.
        root: the folder that loses its power.

    Returns:
        Whether the fault struck, and the text of the `MergebenchError` that came of it, if one did.
    """
    if fault == "kill":
        return _killed(work, number), ""
    calls, hit, disk = count(1), [], Disk()

    def point(name: str, place: Any, half: Callable[[], object] | None) -> None:
        disk.catch_up()
        dead = hit and isinstance(fault, str)
        if isinstance(fault, int) and name in HARMLESS[fault]:
            return
        if not dead and (next(calls) == number or (hit and fault != errno.EIO)):
            hit.append(name)
            if half and fault != errno.EACCES:
                half()
            if isinstance(fault, int):
                raise OSError(fault, os.strerror(fault), str(place))
            disk.cut(root, names="names" in fault)
            dead = True
        if dead:
            raise Dead
        disk.note(name, place)

    try:
        with watched(point):
            work()
            disk.catch_up()
    except Dead:
        return True, ""
    except MergebenchError as error:
        if not hit:
            raise
        return True, str(error)
    if not hit and isinstance(fault, str):  # what was said to be done is there after a power cut
        disk.cut(root, names="names" in fault)
    return bool(hit), ""


def _killed(work: Callable[[], object], number: int) -> bool:
    """Do the work in a child that is killed at its n-th point; False if it ended before."""
    pid = os.fork()
    if pid == 0:
        calls = count(1)

        def point(name: str, place: Any, half: Callable[[], object] | None) -> None:
            if next(calls) == number:
                if half:
                    half()
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with watched(point):
                work()
            os._exit(0)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), "the work failed by itself"
    return status == signal.SIGKILL


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder for the block, in memory if that can be: a disk's syncs would take most of the time."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def walk(
    prepare: Callable[[Path], object],
    work: Callable[[Path], object],
    after: Callable[[Path, bool, str], object],
    fault: "str | int",
    most: int = 400,
) -> int:
    """Strike a piece of work at each of its points in turn.

    Args:
        prepare: lays out what is there before, in a folder of its own for each point.
        work: the piece of work, in that folder.
        after: looks at the folder after (folder, whether the fault struck, what the work said); it fails by asserting.
        fault: of `FAULTS`.
        most: points; more are a mistake.

    Returns:
        How many points there were.
    """
    for number in range(1, most):
        with in_memory() as folder:
            prepare(folder)
            try:
                hit, said = struck(partial(work, folder), number, fault, folder)
                after(folder, hit, said)
            except AssertionError:
                print(f"{fault} at point {number}", file=sys.stderr)
                raise
        if not hit:
            return number - 1
    raise AssertionError(f"more than {most} points")
