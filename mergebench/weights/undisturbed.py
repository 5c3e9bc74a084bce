"""Interrupts and SIGTERM that wait until something is done that belongs together; known without torch."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import TypeAlias

LONGEST = 10.0  # seconds that a SIGTERM waits

Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class undisturbed:  # noqa: N801 (reads as a phrase)
    """While the block runs, the first interrupt or SIGTERM waits for its end; a second one is let through at once.

    So does a SIGTERM when the block has gone on for `LONGEST` seconds more: who sends it sends no second. Outside of
    the main thread, and inside another such block, nothing is changed. Handlers are found again as they were.
    """

    def __enter__(self) -> "undisturbed":
        self._before: dict[int, Handler] = {}
        self._come: list[int] = []
        self._clock: threading.Timer | None = None
        self._waits = False
        if threading.current_thread() is not threading.main_thread():
            return self
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                ours = isinstance(getattr(before, "__self__", None), undisturbed)
                if before not in (None, signal.SIG_IGN) and not ours:
                    self._before[number] = before
                    signal.signal(number, self._handle)
        except BaseException:  # of a handler, between the two
            self._restore()
            raise
        self._waits = True
        return self

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        try:
            self._restore()
        finally:
            self._waits = False
            if self._clock:
                self._clock.cancel()
            # One that was let through is on its way already.
            if self._come and not (kind and issubclass(kind, KeyboardInterrupt)):
                signal.raise_signal(self._come.pop())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._waits and not self._come:
            self._come.append(number)
            if number == signal.SIGTERM:
                self._clock = threading.Timer(LONGEST, os.kill, (os.getpid(), number))
                self._clock.daemon = True
                self._clock.start()
            return
        before = self._before[number]
        if callable(before):
            before(number, frame)
        else:  # the system's own way, which ends the process
            signal.signal(number, before)
            signal.raise_signal(number)

    def _restore(self) -> None:
        """Handlers as they were; whatever one of them raises on the way, the others follow."""
        with ExitStack() as all_of_them:
            for number, before in self._before.items():
                all_of_them.callback(signal.signal, number, before)
