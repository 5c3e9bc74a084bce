"""Time limits: what runs too long is ended, whatever it catches, and nothing else is touched."""

import contextlib
import signal
import threading
import time

import pytest

from mergebench.errors import MergebenchError, MethodError
from mergebench.merging.time_limit import within


def handler():
    return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)


def test_a_call_that_ends_in_time_is_left_alone():
    before = handler()
    assert within(30, "merging", lambda: 7) == 7
    assert within(None, "merging", handler) == before
    assert handler() == before


def test_a_call_that_takes_too_long_is_ended_and_the_reason_told():
    def stubborn():
        while True:
            with contextlib.suppress(Exception):
                time.sleep(10)

    before, start = handler(), time.monotonic()
    with pytest.raises(MethodError, match=r"merging was stopped after 0\.05 s, the limit set by --timeout"):
        within(0.05, "merging", stubborn)
    assert time.monotonic() - start < 5
    assert handler() == before


def test_a_call_that_swallows_even_that_is_ended_the_next_time():
    caught = []

    def swallowing():
        try:
            time.sleep(10)
        except BaseException as first:
            caught.append(first)
        time.sleep(10)

    with pytest.raises(MethodError, match="was stopped"):
        within(0.05, "merging", swallowing)
    assert len(caught) == 1


def test_calls_that_end_just_when_the_time_is_over_never_let_the_alarm_out():
    """Whether such a call is in time is a matter of luck; that anything else comes out of it must not be."""
    late = 0
    for turn in range(300):
        end = time.perf_counter() + 0.001 + turn * 1e-6

        def busy(end=end):
            while time.perf_counter() < end:
                pass

        try:
            within(0.001, "merging", busy)
        except MethodError:
            late += 1
    assert late > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_error_that_is_put_in_the_alarms_place_is_told_as_what_it_is():
    def translating():
        try:
            time.sleep(10)
        except BaseException:
            raise ValueError("could not determine the shape") from None

    with pytest.raises(MethodError, match="merging was stopped after"):
        within(0.05, "merging", translating)


def test_an_error_of_the_calls_own_passes():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores interrupts
    try:
        with pytest.raises(KeyboardInterrupt):
            within(30, "merging", lambda: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ZeroDivisionError):
        within(30, "merging", lambda: 1 / 0)


def test_where_there_can_be_no_limit_it_is_refused():
    refused = []

    def other_thread():
        try:
            refused.append(within(1, "merging", lambda: "ran"))
        except MergebenchError as error:
            refused.append(str(error))

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert "run without --timeout" in refused[0]


def deaf():
    while True:
        try:
            time.sleep(10)
        except BaseException:
            continue


def deaf_and_busy():
    while True:
        try:
            while True:
                try:
                    sum(range(1000))
                except BaseException:
                    continue
        except BaseException:
            time.sleep(0)


@pytest.mark.parametrize("call", [deaf, deaf_and_busy])
def test_a_call_that_swallows_every_interruption_does_not_outlive_its_time(call):
    start = time.monotonic()
    with pytest.raises(MethodError, match="was stopped after"):
        within(0.05, "merging", call)
    assert time.monotonic() - start < 20
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
