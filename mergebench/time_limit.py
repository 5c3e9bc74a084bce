"""A limit on how long a block may take, for other people's code that may never end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mergebench.errors import MergebenchError, MethodError

# A block that swallows the first interruption is interrupted again, this many seconds later, and again.
AGAIN = 0.5


class _Expired(BaseException):
    """Not an Exception, so that a method's own `except Exception` does not take it for one of its errors."""


@contextmanager
def time_limit(seconds: float | None, what: str) -> Iterator[None]:
    """End a block after so many seconds, between two of its Python instructions; a call into C ends first.

    Args:
        seconds: wall clock; None for no limit.
        what: what the block does, for the message: "merging".

    Raises:
        MethodError: the time is over.
        MergebenchError: there can be no limit: no POSIX signals, or not in the main thread.
    """
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise MergebenchError("a time limit needs POSIX signals and the main thread; run without --timeout")

    def expire(number: int, frame: FrameType | None) -> None:
        raise _Expired

    before = signal.signal(signal.SIGALRM, expire)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        yield
    except _Expired:
        raise MethodError(f"{what} was stopped after {seconds:g} s, the limit set by --timeout") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
