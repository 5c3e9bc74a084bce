"""Writing files: whole or not at all, and to stay, whoever else writes there; known without torch."""

import errno
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mergebench.errors import MergebenchError
from mergebench.weights.undisturbed import undisturbed

try:
    import fcntl
except ImportError:  # no POSIX
    fcntl = None  # type: ignore[assignment]

PATIENCE = 10.0  # seconds that a folder is waited for, which is held for as long as a file takes to be written
ABANDONED = 60.0  # seconds after which a temporary file that nobody holds is a dead one's
# What some file systems answer to who would have a folder's entries on the disk: they do not know how.
NOT_KNOWN = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
ELSEWHERE = "choose a folder you may write to"
REMEDIES = {
    errno.EACCES: ELSEWHERE, errno.EPERM: ELSEWHERE, errno.EROFS: ELSEWHERE,
    errno.ENOSPC: "make room there, or choose a folder on another disk",
    errno.EDQUOT: "make room there, or choose a folder on another disk",
    errno.EFBIG: "allow larger files (ulimit -f), or choose a folder on another disk",
    errno.EIO: "the disk may be failing: choose a folder on another one",
    errno.ENOENT: "the folder has gone meanwhile; make it again, or choose another",
}  # fmt: skip


def refusal(what: str, error: OSError, otherwise: str = ELSEWHERE) -> MergebenchError:
    """What the system refuses, in one line with a remedy.

    Args:
        what: what could not be done ("cannot write runs/x.json").
        error: as the system gave it.
        otherwise: the remedy where the kind of error does not say it.
    """
    # Native writers say the number in their text alone.
    said = re.search(r"\(os error (\d+)\)", str(error))
    number = int(said[1]) if said else error.errno or 0
    return MergebenchError(f"{what}: {error.strerror or error}; {REMEDIES.get(number, otherwise)}")


def settle(place: Path) -> None:
    """Have a file's content, or a folder's entries, on the disk before anything else is done.

    Raises:
        OSError: the disk did not take it.
    """
    try:
        handle = os.open(place, os.O_RDONLY)
    except PermissionError:  # a folder that may be entered and not listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_KNOWN:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder, and those on the way to it, that are there after a power cut too.

    Raises:
        OSError: one of them cannot be made.
    """
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        settle(place.parent)


def put_aside(place: Path) -> None:
    """Rename a folder that lies where a file is to be, and which nobody knows of, to a name beside it.

    Raises:
        MergebenchError: it cannot be renamed.
    """
    if not place.is_dir() or place.is_symlink():
        return
    number = 0
    while os.path.lexists(other := place.with_name(f"{place.name}.set-aside{number or ''}")):
        number += 1
    try:
        place.rename(other)
        settle(place.parent)
    except OSError as error:
        raise refusal(f"cannot write {place}, where a folder is", error, "move it away") from None


def _lock(handle: int) -> bool:
    """Hold an open file, if nobody else does, until it is closed; False where that is not to be had."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in such a block on this folder: for what is read there, changed and written again.

    Where folders cannot be held, or somebody holds one for longer than any such block takes, it goes on all the same.
    """
    handle = None
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + PATIENCE
        while handle is not None and not _lock(handle) and fcntl and time.monotonic() < end:
            time.sleep(0.02)
        yield
    finally:
        if handle is not None:
            os.close(handle)


_listed: dict[Path, tuple[float, list[str]]] = {}  # folder -> when it was listed, and its hidden files then


def _hidden(folder: Path) -> list[str]:
    """The hidden files of a folder, as they were at most so long ago as what is younger is nobody's yet.

    Of ten thousand results each is noted, and to list their folder every time took most of it.
    """
    folder, now = folder.absolute(), time.monotonic()
    listed = _listed.get(folder)
    if listed is None or now - listed[0] > ABANDONED:
        _listed.clear()  # one folder after the other is written to
        listed = _listed[folder] = now, [name for name in os.listdir(folder) if name.startswith(".")]
    return listed[1]


class writing:  # noqa: N801 (reads as a phrase: `with writing(path) as temporary`)
    """Give a temporary name beside `path`; rename it over `path` when the block ends well, remove it otherwise.

    The content is on the disk before it is renamed, and the name after it, so that a power cut leaves what was there or
    what was written. An interrupt or SIGTERM ends the block, or waits until the file is in its place.

    Args:
        path: the file to appear whole.
        lasting: False where it does not matter if a power cut brings back, whole, what was there before.

    Raises:
        MergebenchError: the folder cannot be made or written, or the disk fills up.
    """

    def __init__(self, path: str | Path, lasting: bool = True) -> None:
        self.path, self.lasting = Path(path), lasting
        self._handle, self.temporary = -1, self.path
        self._placed = False

    def __enter__(self) -> Path:
        try:
            with undisturbed():
                make_folder(self.path.parent)
                handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
                # Held as long as this is being written: who is killed lets go of it, and the next to write here clears
                # up.
                self._handle, self.temporary = handle, Path(name)
                _lock(handle)
                self._clear_up()
        except OSError as error:
            raise refusal(f"cannot write {self.path}", error) from None
        except BaseException:  # an interrupt that has waited for this
            self._remove()
            raise
        return self.temporary

    def _clear_up(self) -> None:
        """Remove what killed processes have left of the same file."""
        beginning = f".{self.path.name}."
        with suppress(OSError):
            for name in filter(lambda name: name.startswith(beginning), _hidden(self.path.parent)):
                left = self.path.parent / name
                with suppress(OSError):
                    old = time.time() - left.stat().st_mtime > ABANDONED
                    named = re.fullmatch(r"[a-z0-9_]{8}", left.name[len(beginning) :])
                    if left == self.temporary or not old or not named:
                        continue
                    handle = os.open(left, os.O_RDONLY)
                    try:
                        if _lock(handle):
                            left.unlink()
                    finally:
                        os.close(handle)

    def _remove(self) -> None:
        """Let go of the temporary file; where it cannot be removed now, the next to write here does it."""
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = -1
            if not self._placed:
                with suppress(OSError):
                    self.temporary.unlink(missing_ok=True)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with undisturbed():
            try:
                if kind is None:
                    self._put()
            except OSError as worse:  # something else is called so, the folder has gone meanwhile, the disk is full
                raise refusal(f"cannot write {self.path}", worse, "move what is there away") from None
            finally:
                self._remove()
            if isinstance(error, OSError):
                raise refusal(f"cannot write {self.path}", error) from None

    def _put(self) -> None:
        # mkstemp makes files private; results are for everyone whom the umask admits.
        umask = os.umask(0)
        os.umask(umask)
        settle(self.temporary)
        self.temporary.chmod(0o666 & ~umask)
        os.replace(self.temporary, self.path)
        self._placed = True
        if self.lasting:
            settle(self.path.parent)


def check_writable(path: str | Path) -> None:
    """Find out now, before any work, whether `path` can be written; what is there already stays as it is.

    Raises:
        MergebenchError: it cannot.
    """
    path = Path(path)
    if path.is_dir():
        raise MergebenchError(f"cannot write {path}: it is a folder; name a file in it")
    probe = writing(path)
    probe.__enter__()
    probe.__exit__(KeyError, None, None)  # as if it had failed: nothing is left
