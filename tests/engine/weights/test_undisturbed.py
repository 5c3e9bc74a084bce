"""Interrupts and SIGTERM wait for what belongs together, are not lost, and leave handlers as they were."""

import os
import signal
import threading
import time
from itertools import count

import faults
import pytest
from pieces import MADE_WHEN_ASKED, PIECES, old_ones_lost

from mergebench.cli import stopping
from mergebench.errors import Terminated
from mergebench.weights import undisturbed as module
from mergebench.weights.undisturbed import undisturbed


@pytest.fixture(autouse=True)
def usual(monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", os.environ["MERGEBENCH_CACHE"])
    before = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (
        signal.default_int_handler,
        signal.SIG_DFL,
    )
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_outermost_block(number):
    done = []
    with pytest.raises(KeyboardInterrupt) as caught, stopping.terminable("told"):
        with undisturbed():
            with undisturbed():
                send(number)
                done.append("inner")
            done.append("outer")
        done.append("too far")
    assert done == ["inner", "outer"]
    assert isinstance(caught.value, Terminated) == (number == signal.SIGTERM)


def test_a_second_one_is_let_through_at_once_and_comes_but_once():
    with pytest.raises(KeyboardInterrupt), undisturbed():
        send(signal.SIGINT)
        send(signal.SIGINT)
        pytest.fail("too far")
    time.sleep(0.01)  # nothing else comes


def test_an_error_of_the_block_does_not_swallow_it():
    with pytest.raises(KeyboardInterrupt) as caught, undisturbed():
        send(signal.SIGINT)
        raise OSError("full")
    assert isinstance(caught.value.__context__, OSError)


def test_sigterm_alone_is_let_through_after_a_while(monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.05)
    start = time.monotonic()
    with pytest.raises(Terminated), stopping.terminable("told"), undisturbed():
        send(signal.SIGTERM)
        time.sleep(20)
    assert time.monotonic() - start < 10


def test_a_handler_of_somebody_s_own_is_called_after_the_block_and_an_ignored_signal_stays_ignored():
    called = []
    signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with undisturbed():
        send(signal.SIGTERM)
        send(signal.SIGINT)
        assert not called
    assert called == [signal.SIGTERM] and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_change_nothing():
    seen = []

    def work():
        with undisturbed():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


WHOLE = {"a result", "a result over one that is set aside", "a result set aside"}


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", PIECES)
def test_at_every_point_of_a_write(name, number, times):
    for n in count(1):
        with faults.in_memory() as folder:
            if not struck(PIECES[name], name, folder, number, range(n, n + times)):
                break
    assert n > 4


def struck(piece, name, folder, number, points):
    """Whether a signal came at these points of the work."""
    piece.before(folder)
    calls, sent, ended = count(1), [], False

    def point(call, place, half):
        if next(calls) in points:
            sent.append(call)
            send(number)

    try:
        with stopping.terminable("told"), faults.watched(point):
            piece.work(folder)
            ended = True
    except KeyboardInterrupt as error:
        assert isinstance(error, Terminated) == (number == signal.SIGTERM)
        ended = False
    assert ended == (not sent), "a signal is lost, or comes from nowhere"
    assert not old_ones_lost(folder)
    if name not in MADE_WHEN_ASKED:
        assert piece.found(folder) or (sent and (len(points) == 2 or name not in WHOLE))
    piece.work(folder)
    assert piece.found(folder)
    return bool(sent)
