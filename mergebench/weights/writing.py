"""Writing files: whole or not at all, whoever else writes there; known without torch."""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from mergebench.errors import MergebenchError

try:
    import fcntl
except ImportError:  # no POSIX
    fcntl = None

PATIENCE = 10.0  # seconds that a folder is waited for, which is held for as long as a file takes to be written
ABANDONED = 60.0  # seconds after which a temporary file that nobody holds is a dead one's


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


class writing:  # noqa: N801 (reads as a phrase: `with writing(path) as temporary`)
    """Give a temporary name beside `path`; rename it over `path` when the block ends well, remove it otherwise.

    Args:
        path: the file to appear whole.

    Raises:
        MergebenchError: the folder cannot be made or written, or the disk fills up.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        except OSError as error:
            raise MergebenchError(
                f"cannot write {self.path}: {error.strerror}; choose a folder you may write to"
            ) from None
        # Held as long as this is being written: who is killed lets go of it, and the next to write here clears up.
        self._handle, self.temporary = handle, Path(name)
        _lock(handle)
        self._clear_up()
        return self.temporary

    def _clear_up(self) -> None:
        """Remove what killed processes have left of the same file."""
        beginning = f".{self.path.name}."
        for left in self.path.parent.glob(f"{escape(beginning)}*"):
            with suppress(OSError):
                old = time.time() - left.stat().st_mtime > ABANDONED
                if left == self.temporary or not old or not re.fullmatch(r"[a-z0-9_]{8}", left.name[len(beginning) :]):
                    continue
                handle = os.open(left, os.O_RDONLY)
                try:
                    if _lock(handle):
                        left.unlink()
                finally:
                    os.close(handle)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        os.close(self._handle)
        if kind is None:
            # mkstemp makes files private; results are for everyone whom the umask admits.
            umask = os.umask(0)
            os.umask(umask)
            try:
                self.temporary.chmod(0o666 & ~umask)
                os.replace(self.temporary, self.path)
            except OSError as worse:  # something else is called so, or the folder has gone meanwhile
                self.temporary.unlink(missing_ok=True)
                raise MergebenchError(f"cannot write {self.path}: {worse.strerror}; move what is there away") from None
        else:
            self.temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise MergebenchError(f"cannot write {self.path}: {error.strerror or error}") from None


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
