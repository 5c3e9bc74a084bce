"""A limit on how long a call may take, for other people's code that may never end."""

import signal
import threading
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import TypeVar

from mergebench.errors import MergebenchError, MethodError

# A call that swallows the first interruption is interrupted again, this many seconds later. One that swallows that too
# is interrupted in pairs, until the second of a pair finds it between having swallowed the first and trying again: how
# long that takes nobody knows, so it is drawn, up to so many seconds.
AGAIN, PAIRS, APART = 0.5, 2e-3, 5e-5

Result = TypeVar("Result")


class _Expired(BaseException):
    """Not an Exception, so that a method's own `except Exception` does not take it for one of its errors."""


def check_limit(seconds: float | None) -> None:
    """Refuses, by a MergebenchError, a limit that cannot be kept here: no POSIX signals, or not in the main thread."""
    possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is not None and not possible:
        raise MergebenchError("a time limit needs POSIX signals and the main thread; run without --timeout")


def within(seconds: float | None, what: str, call: Callable[[], Result]) -> Result:
    """Call something, and end it after so many seconds, between two of its Python instructions; C code ends first.

    Args:
        seconds: wall clock; None for no limit.
        what: what the call does, for the message: "merging".
        call: without arguments.

    Returns:
        What it returns.

    Raises:
        MethodError: the time is over.
        MergebenchError: there can be no limit; see `check_limit`.
    """
    if seconds is None:
        return call()
    check_limit(seconds)
    armed, over, inside = True, False, False
    random = Random()  # not the one that methods draw from

    def expire(number: int, frame: FrameType | None) -> None:
        nonlocal over, inside
        if armed and not inside:
            inside = True  # the second of a pair may come too early
            if over:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, APART), PAIRS)
            over, inside = True, False
            raise _Expired

    before = signal.signal(signal.SIGALRM, expire)
    try:
        # Two levels: an alarm that comes while the inner one is being left is still caught by the outer one.
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            result = call()
        finally:
            armed = False
    except KeyboardInterrupt:
        raise
    except BaseException:
        armed = False
        # C code that is interrupted may put an error of its own in the alarm's place.
        if not over:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if over:
        raise MethodError(f"{what} was stopped after {seconds:g} s, the limit set by --timeout")
    return result
