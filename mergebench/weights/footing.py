"""What on this disk something was made from: as long as all of it is as it was, the same would be made again.

Whoever reads a file that a plan depends on says so here (`rests_on`), or that no file shows all of it
(`rests_elsewhere`).
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

# Two changes within one tick of a file system's clock leave the same time. A file that is older than that when it is
# looked at cannot change later and keep its times; ticks are of milliseconds, or of up to two seconds on a few.
TICK, COARSE = 0.05, 2.0


@dataclass
class Footing:
    """What was noted.

    Args:
        marks: a file's or folder's path -> its mark; None where there is none.
        elsewhere: why the marks do not say it all; empty if they do.
    """

    marks: dict[str, str | None] = field(default_factory=dict)
    elsewhere: str = ""

    def add(self, path: str | Path, *, alone: bool = False) -> None:
        """Note a file, before it is read, and what else lies in its folder (a file that came to it might be read too).

        Args:
            path: of the file, or of a folder.
            alone: whether what else is in its folder does not matter.
        """
        path = os.path.abspath(path)
        if is_young(path):
            time.sleep(TICK)
            if is_young(path):
                self.elsewhere = f"{path} is too young to tell whether it changes"
        for one in (path,) if alone else (path, os.path.dirname(path)):
            found = mark(one)
            if self.marks.setdefault(one, found) != found:
                self.elsewhere = f"{one} changed meanwhile"


_noted: ContextVar[Footing | None] = ContextVar("footing", default=None)


@contextmanager
def noting() -> Iterator[Footing]:
    """While the block runs, what is read is noted."""
    footing = Footing()
    token = _noted.set(footing)
    try:
        yield footing
    finally:
        _noted.reset(token)


def rests_on(path: str | Path, *, alone: bool = False) -> None:
    """Somebody reads a file or lists a folder; arguments as `Footing.add` has them."""
    footing = _noted.get()
    if footing is not None:
        footing.add(path, alone=alone)


def rests_elsewhere(why: str) -> None:
    """Somebody reads what no file here shows: what is on the hub, or a whole tree of images."""
    footing = _noted.get()
    if footing is not None:
        footing.elsewhere = why


def still_there(marks: Mapping[str, str | None]) -> bool:
    """Whether all files and folders are as they were marked."""
    return all(mark(path) == marked for path, marked in marks.items())


def mark(path: str) -> str | None:
    """What tells a file from any that takes its place, and a folder by what is in it; None where there is nothing.

    No program can set the time of a file's last change (ctime), whatever it does to the other times.
    """
    try:
        found = os.stat(path)
        if os.path.isdir(path):
            # Not its times, which change with temporary and compiled files.
            with os.scandir(path) as entries:
                names = sorted(entry.name for entry in entries if _might_be_read(entry))
            return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    except OSError:
        return None
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _might_be_read(entry: "os.DirEntry[str]") -> bool:
    """Whether a file or folder might be found by who looks in its folder: a file, a package, an installed release.

    A folder of results is none of these.
    """
    if entry.name.startswith("."):
        return False
    return not entry.is_dir() or "." in entry.name or os.path.exists(os.path.join(entry.path, "__init__.py"))


def is_young(path: str) -> bool:
    """Whether a file was changed so lately that it may change once more and keep its mark."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    if os.path.isdir(path):
        return False
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    return time.time() - changed / 1e9 < (TICK if found.st_ctime_ns % 10**9 else COARSE)
