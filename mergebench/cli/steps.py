"""How far a long loop is: a bar on a terminal, elsewhere a line now and then."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 30.0  # seconds between lines
QUICK = 1.0  # seconds in which no bar is shown: what flashes up and is gone tells nobody anything


class Steps:
    """Told of a loop's steps, tells people of them on standard error; several processes may hold a copy.

    Args:
        name: whose loop it is.
        quiet: whether nothing is shown.
    """

    def __init__(self, name: str, quiet: bool = False) -> None:
        self._name, self._quiet = name, quiet
        self._lines, self._begun = Lines(), time.monotonic()
        # Made when there is something to show, so that what waits can be copied.
        self._console: Console | None = None
        self._bar: Progress | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Of `total` steps so many are done; `what` they are."""
        if self._quiet:
            return
        if self._console is None:  # once: a merge tells of every tensor
            self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        console = self._console
        if not console.is_terminal:
            line = self._lines.due(what, done, total)
            if line:
                console.print(f"{self._name}: {line}")
            return
        if self._bar is None and time.monotonic() - self._begun < QUICK:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[what]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(self._name, total=total, what=what)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, what=what)

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Lines:
    """Lines on how far a loop is, at most one in so many seconds, and none for what is quick."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()
        self._at: tuple[str, int, float] | None = None

    def due(self, what: str, done: int, total: int) -> str:
        """What is to be said now; empty if nothing is."""
        now, unit = time.monotonic(), what.partition(",")[0]
        if self._at is None or self._at[0] != unit or done < self._at[1]:  # another loop, whose pace is not known yet
            self._at = unit, done, now
        if now - self._last < EVERY:
            return ""
        self._last = now
        steps, seconds = done - self._at[1], now - self._at[2]
        left = f", about {seconds / steps * (total - done):.0f} s left" if steps and seconds else ""
        return f"{done:,} of {total:,} {what}, {now - self._begun:.0f} s{left}"
