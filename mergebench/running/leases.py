"""Leases on names in a shared folder: of all processes, on however many machines, one at a time has a name.

A lease is a file that whoever holds it renews. That machines' clocks differ does not matter: only the folder's own
times are compared, and how long a file stays as it is. Known without torch.
"""

import errno
import json
import os
import re
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from uuid import uuid4

from mergebench.configuration import file_name
from mergebench.errors import MergebenchError
from mergebench.running.holders import is_no_more, is_number, this_process
from mergebench.weights.undisturbed import undisturbed
from mergebench.weights.writing import alone, make_folder, refusal

LONGEST = 86400.0  # seconds: a file that claims to hold for longer is taken for no lease
LARGEST = 4096  # bytes of a lease that are read
# What file systems answer that know no second name for a file.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class _Seen(NamedTuple):
    """A lease's file as it was found."""

    content: bytes
    changed: int  # nanoseconds, by the folder's clock
    file: tuple[int, int]


class Leases:
    """Leases of one process on names in a folder, renewed by a thread for as long as they are held.

    A lease has lapsed when it was not renewed for its `ttl`, or its holder, on this machine, is no more; then the next
    who claims its name gets it. One that cannot be read as a lease lapses after this one's `ttl`.

    Args:
        folder: where the leases lie; made when it is first needed.
        ttl: seconds after which others may take over what was not renewed; renewed is four times as often.
    """

    def __init__(self, folder: str | Path, ttl: float = 120.0) -> None:
        if not 0 < ttl <= LONGEST:
            raise MergebenchError(f"a lease of {ttl} seconds; give more than 0 and at most {LONGEST:.0f}")
        self.folder, self.ttl = Path(folder), ttl
        self._process, self._mark = this_process(), uuid4().hex
        self._held: dict[str, float] = {}  # name -> when it was last renewed, by this process's own clock
        self._lost: set[str] = set()
        self._watched: dict[str, tuple[_Seen, float]] = {}  # others' -> as found first, and when
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Leases":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def held(self) -> frozenset[str]:
        """The names that this one has, as far as it knows."""
        with self._lock:
            return frozenset(self._held)

    def claim(self, name: str) -> bool:
        """Take a name, if nobody has it, or whoever had it has let it lapse.

        Args:
            name: of what is to be done once.

        Returns:
            Whether it is this one's now (or was already).

        Raises:
            MergebenchError: the folder cannot be written.
        """
        if self._closed.is_set():
            raise MergebenchError(f"cannot claim {name!r}: these leases are closed; make others")
        if os.getpid() != self._process["pid"]:
            raise MergebenchError(f"cannot claim {name!r}: these leases are another process's; make others in this one")
        if name in self.held and not self.lost(name):
            return True
        with undisturbed():  # what is taken is known to be, and given back in the end
            try:
                if not self._take(name):
                    return False
            except OSError as error:
                raise refusal(f"cannot claim {name!r} in {self.folder}", error) from None
            with self._lock:
                self._lost.discard(name)
                self._held[name] = time.monotonic()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._renew_all, name="leases", daemon=True)
                    self._thread.start()
        return True

    def lost(self, name: str) -> bool:
        """Whether a name that was claimed here is somebody else's by now, or nobody's: this process was suspended."""
        if name in self.held:
            try:
                if self._is_mine(_read(self._path(name))):
                    return False
            except OSError:  # for the moment nobody can tell; others cannot take over before it lapses
                with self._lock:
                    return time.monotonic() - self._held.get(name, 0) > self.ttl
            self._lose(name)
        return name in self._lost

    def release(self, name: str) -> None:
        """Give a name back; what is not this one's stays as it is."""
        if os.getpid() != self._process["pid"]:  # a fork has no leases
            return
        with self._lock:
            had = self._held.pop(name, None) is not None
            self._lost.discard(name)
        path = self._path(name)
        with suppress(OSError):
            if had and self._is_mine(_read(path)):
                with alone(self.folder):
                    self._take_away(path, _read(path), mine=True)

    def close(self) -> None:
        """Give all names back, and renew no more."""
        self._closed.set()
        for name in self.held:
            self.release(name)

    def _path(self, name: str) -> Path:
        return self.folder / f"{file_name(name)}.lease"

    def _is_mine(self, seen: _Seen | None) -> bool:
        return seen is not None and _told(seen).get("mark") == self._mark

    def _lose(self, name: str) -> None:
        with self._lock:
            if self._held.pop(name, None) is not None:
                self._lost.add(name)

    def _take(self, name: str) -> bool:
        path = self._path(name)
        make_folder(self.folder)
        handle, made = tempfile.mkstemp(dir=self.folder, prefix=f".{path.name}.")
        try:
            told = self._process | {"name": name, "mark": self._mark, "ttl": self.ttl, "when": time.time()}
            content = json.dumps(told).encode()
            if os.write(handle, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fchmod(handle, 0o644)
            seen = _read(path)
            if seen is not None and not self._has_lapsed(name, seen, os.fstat(handle).st_mtime_ns):
                return False
            # Judged again while nobody else judges: what lapsed may be somebody's again by now.
            with alone(self.folder):
                os.utime(handle)
                now, seen = os.fstat(handle).st_mtime_ns, _read(path)
                if seen is not None and not self._has_lapsed(name, seen, now):
                    return False
                if seen is not None and not self._take_away(path, seen):
                    return False
                self._clear_up(now)
                return _linked(made, path) or self._is_mine(_read(path))
        finally:
            os.close(handle)
            with suppress(OSError):
                os.unlink(made)

    def _has_lapsed(self, name: str, seen: _Seen, now: int) -> bool:
        told = _told(seen)
        if is_no_more(told):
            return True
        stated = told.get("ttl")
        ttl = float(stated) if is_number(stated) and 0 < stated <= LONGEST else self.ttl
        if now - seen.changed > ttl * 1e9:
            return True
        # A time that lies ahead says nothing: whoever holds it will have touched it before as long has passed here.
        first, since = self._watched.setdefault(name, (seen, time.monotonic()))
        if first != seen:
            self._watched[name] = seen, time.monotonic()
            return False
        return time.monotonic() - since > ttl

    def _take_away(self, path: Path, judged: _Seen | None, mine: bool = False) -> bool:
        """Remove a lease as it was judged: of many who try, one does; a fresh one that stands there by now is put back.

        Args:
            path: the lease.
            judged: as it was read.
            mine: whether it may have been renewed since, as by this one's own thread.
        """
        if judged is None:
            return True
        away = path.with_name(f".{path.name}.{uuid4().hex}.away")
        try:
            os.rename(path, away)
        except FileNotFoundError:
            return False
        found = _read(away)
        same = self._is_mine(found) if mine else found == judged
        if not same:
            with suppress(FileExistsError):
                _linked(away, path)
        with suppress(OSError):  # a folder stood there
            os.unlink(away)
        return same

    def _clear_up(self, now: int) -> None:
        """Remove what killed processes have left."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if re.fullmatch(r"\..+\.lease\.([a-z0-9_]{8}|[0-9a-f]{32}\.away)", entry.name):
                    with suppress(OSError):
                        if now - entry.stat().st_mtime_ns > max(self.ttl, 60.0) * 1e9:
                            os.unlink(entry.path)

    def _renew_all(self) -> None:
        while not self._closed.wait(self.ttl / 4):
            for name in self.held:
                path = self._path(name)
                try:
                    if self._is_mine(_read(path)):
                        os.utime(path)
                        with self._lock:
                            if name in self._held:
                                self._held[name] = time.monotonic()
                    else:
                        self._lose(name)
                except OSError:  # perhaps it can be reached the next time
                    continue


def _read(path: str | Path) -> _Seen | None:
    """A lease's file; None where there is none. It is opened for its times: a network's file system asks anew then."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    try:
        try:
            content = os.read(handle, LARGEST)
        except OSError:  # a folder, or what cannot be read: no lease, but in its place
            content = b""
        found = os.fstat(handle)
        return _Seen(content, found.st_mtime_ns, (found.st_dev, found.st_ino))
    finally:
        os.close(handle)


def _told(seen: _Seen) -> dict[str, Any]:
    try:
        told = json.loads(seen.content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _linked(made: str | Path, path: Path) -> bool:
    """Give a whole file a second name that nothing has; False where something is called so.

    Over a network the answer may be lost and the call made again, which then finds its own work: the number of names
    tells. Where files have one name only, a copy is made that nobody else can have made.
    """
    try:
        os.link(made, path)
        return True
    except FileExistsError:
        return os.stat(made).st_nlink == 2
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    content = Path(made).read_bytes()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(handle, content)
    finally:
        os.close(handle)
    return True
