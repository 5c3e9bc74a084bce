"""Holds a command line that is handed a hostile file to what every refusal keeps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from mergebench.errors import is_unseen

SECONDS, BYTES = 10, 10**9  # of this process's own time, and of memory above what it holds
NOTE = "mergebench: note: "


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Fails where the block takes more processor time, or holds more memory, than a refusal may.

    Processor time: a busy machine must not make a test fail, and what waits (for a pipe) is ended by an alarm.
    """

    def stop(*_: object) -> None:
        raise AssertionError(f"{what} took more than {SECONDS} s")

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    before = _peak(reset=True)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 12 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    held = _peak() - before
    assert held < BYTES, f"{what} took {held / 1e9:.1f} GB"


def _peak(*, reset: bool = False) -> int:
    """The most memory held since the last reset, in bytes; 0 where the kernel does not tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


class Guard:
    """Runs command lines that are refused.

    Args:
        command: gives status, output and error output of a command line.
        canary: the file that code in a hostile file would make.
    """

    def __init__(self, command: Callable[..., SimpleNamespace], canary: Path) -> None:
        self.command, self.canary = command, canary

    def ran(self, *arguments: object) -> SimpleNamespace:
        """A command line within bounds, whose output shows nothing unseen and no traceback, and that ran no code."""
        told = " ".join(map(str, arguments))[:200]
        with bounded(told):
            done = self.command(*arguments)
        assert not self.canary.exists(), f"{told} ran code"
        assert "Traceback" not in done.out + done.err, done
        odd = [c for c in done.out + done.err if is_unseen(c) and c != "\n"]
        assert not odd, (odd[:3], done)
        return done

    def refused(self, *arguments: object, names: str | Path = "", remedy: str = "") -> str:
        """A command line of which one line is told beside notes, with status 2; gives the line.

        Args:
            arguments: of it.
            names: what the line must name: the file.
            remedy: what it must say, too.
        """
        done = self.ran(*arguments)
        assert done.status == 2, done
        lines = [line for line in done.err.strip().splitlines() if not line.startswith(NOTE)]
        assert len(lines) == 1 and lines[0].startswith("mergebench: error: "), done.err
        assert str(names) in lines[0] and remedy in lines[0], lines[0]
        return lines[0]
