"""SIGTERM, as Slurm, systemd and `timeout` send it: a verb is left as by an interrupt, with a status of its own."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from mergebench.errors import Terminated

STATUS = 143  # 128 + SIGTERM, as shells count
# C code is not interrupted, and other people's code may catch anything: after so many seconds the process is ended.
GRACE = 5.0


@contextmanager
def terminable(farewell: str) -> Iterator[None]:
    """While the block runs, SIGTERM raises `Terminated` in it; it is over soon, whatever becomes of that.

    Args:
        farewell: the line to be told where the exception does not get out in time.
    """
    usual = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not usual or threading.current_thread() is not threading.main_thread():
        yield  # somebody else decides
        return
    left = threading.Event()

    def end() -> None:
        if not left.wait(GRACE):
            _end_workers()
            # Not `print`: what the main thread is in the middle of may hold the stream's lock.
            if sys.__stderr__ is not None:
                os.write(sys.__stderr__.fileno(), f"{farewell}\n".encode())
            os._exit(STATUS)

    def stop(number: int, frame: FrameType | None) -> None:
        _end_workers()
        threading.Thread(target=end, daemon=True).start()
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        left.set()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_workers() -> None:
    """End the processes that share a verb's work (`--devices`): one that is just being started would complain aloud."""
    for pid in _workers():
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _workers() -> list[int]:
    """The processes that multiprocessing started from this one; where there is no /proc, those that it knows by now."""
    found = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError, ValueError):
            pids = map(int, children.read_text().split())
            found += [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found
