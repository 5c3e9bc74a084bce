"""Time limits: what runs too long is ended, whatever it catches, and nothing else is touched."""

import contextlib
import signal
import threading
import time

import pytest

from mergebench.errors import MergebenchError, MethodError
from mergebench.time_limit import time_limit


def handler():
    return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)


def test_a_block_that_ends_in_time_is_left_alone():
    before = handler()
    with time_limit(30, "merging"):
        pass
    with time_limit(None, "merging"):
        assert handler() == before
    assert handler() == before


def test_a_block_that_takes_too_long_is_ended_and_the_reason_told():
    before, start = handler(), time.monotonic()
    told = r"merging was stopped after 0\.05 s, the limit set by --timeout"
    with pytest.raises(MethodError, match=told), time_limit(0.05, "merging"):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(10)
    assert time.monotonic() - start < 5
    assert handler() == before


def test_a_block_that_swallows_even_that_is_ended_the_next_time():
    caught = []
    with pytest.raises(MethodError, match="was stopped"), time_limit(0.05, "merging"):
        try:
            time.sleep(10)
        except BaseException as first:
            caught.append(first)
        time.sleep(10)
    assert len(caught) == 1


def test_an_error_of_the_blocks_own_passes():
    with pytest.raises(ZeroDivisionError), time_limit(30, "merging"):
        raise ZeroDivisionError


def test_where_there_can_be_no_limit_it_is_refused():
    refused = []

    def other_thread():
        try:
            with time_limit(1, "merging"):
                refused.append("ran")
        except MergebenchError as error:
            refused.append(str(error))

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert "run without --timeout" in refused[0]
