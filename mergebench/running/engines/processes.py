"""Processes on this machine: each has a share of its threads, and one that dies costs the cell that it was at."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from mergebench.errors import MergebenchError, in_words
from mergebench.running.engine import PAUSE, Measured, Measuring
from mergebench.running.engines.telling import Teller
from mergebench.running.engines.worker import Job, Worker
from mergebench.running.groups import Group
from mergebench.running.observer import Observer
from mergebench.running.planned import Cell, Plan, RunRequest
from mergebench.running.work import Work

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


@dataclass
class _Place:
    """A worker's process, and what it is at.

    Args:
        process, connection: of it.
        device: that it computes on.
        cells: that it was given and has not sent back yet.
    """

    process: "SpawnProcess"
    connection: Connection
    device: str
    cells: list[Cell]


class Processes:
    """Computes in several processes of this machine.

    Weights and images are read where they lie: what several processes read is in memory once, in the system's cache.

    Args:
        request: what was asked for, from which each process makes its plan.
        workers: how many processes.
        threads: of each; this process's shared out among them, if not given.
    """

    def __init__(self, request: RunRequest, workers: int, threads: int | None = None) -> None:
        self.request, self._workers, self._threads = request, workers, threads

    def measure(self, plan: Plan, work: Work, observer: Observer, timeout: float | None) -> Measuring:
        """See `running.engine.Engine.measure`."""
        teller = Teller(plan, observer)
        self._timeout = timeout
        places: list[_Place] = []
        try:
            while True:
                self._hand_out(plan, work, places)
                busy = [place for place in places if place.cells]
                if not busy and not work.left:
                    yield None
                    return
                ready = wait([p.connection for p in busy] + [p.process.sentinel for p in busy], PAUSE)
                if not ready:
                    yield None
                for place in busy:
                    if place.connection in ready or place.process.sentinel in ready:
                        yield from self._received(place, places, plan, work, teller)
        finally:
            for place in places:
                place.connection.close()
                place.process.kill()
                place.process.join()

    def _hand_out(self, plan: Plan, work: Work, places: list[_Place]) -> None:
        """Give every idle process something to do; one more is started where there is more to do, and room for it."""
        while True:
            idle = next((place for place in places if not place.cells), None)
            if idle is None and len(places) == self._workers:
                return
            group = work.draw()
            if group is None:
                return
            if idle is None:
                idle = self._start(plan, places)
            self._give(idle, group)

    def _start(self, plan: Plan, places: list[_Place]) -> _Place:
        import torch

        device = _free_device(plan.device, [place.device for place in places])
        threads = self._threads or max(torch.get_num_threads() // self._workers, 1)
        job = Job(replace(self.request, device=device, download=False), self._timeout, threads, os.getcwd())
        context = multiprocessing.get_context("spawn")  # a process that has used threads or a GPU cannot be forked
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, job), name="mergebench-worker")
        with _uninterrupted():
            process.start()
        there.close()
        places.append(_Place(process, here, device, []))
        return places[-1]

    @staticmethod
    def _give(place: _Place, group: Group) -> None:
        place.cells = list(group.cells)
        with suppress(OSError):  # it is dead, which shows when it is listened to
            place.connection.send([cell.key for cell in group.cells])

    def _received(
        self, place: _Place, places: list[_Place], plan: Plan, work: Work, teller: Teller
    ) -> Iterator[Measured]:
        """What one process has to say; what it was at is to be done again if it has died."""
        try:
            while place.connection.poll():
                kind, name, content = place.connection.recv()
                if kind == "refused":
                    raise MergebenchError(*content)
                if kind == "done":
                    cell = teller.done(name)
                    place.cells.remove(cell)
                    yield Measured(cell, *content)
                else:
                    teller.tell((kind, name, content))
        except (EOFError, OSError):
            places.remove(place)
            place.process.join()
            yield from teller.ended(place.cells, work, f"its process {_end_of(place.process.exitcode)}")


def _end_of(status: int | None) -> str:
    if status is not None and status < 0:
        with suppress(ValueError):
            name = signal.Signals(-status).name
            return f"was ended by {name}" + " (often: no memory was left)" * (name == "SIGKILL")
    return f"ended with status {status}"


def _free_device(device: str, taken: list[str]) -> str:
    """The GPU that fewest workers compute on, from the planned one on; a CPU is all workers'."""
    if not device.startswith("cuda"):
        return device
    import torch

    count = torch.cuda.device_count()
    first = int(device.partition(":")[2] or 0)
    return min((f"cuda:{(first + i) % count}" for i in range(count)), key=taken.count)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that is started in the block hears of no Ctrl-C; this one hears of it behind the block.

    Ctrl-C reaches all processes of a terminal, and one that is just importing would complain aloud.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, job: Job) -> None:
    """A worker's process: takes lists of keys until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(message: tuple[str, str, Any]) -> None:
        connection.send(message)

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            worker = Worker(job)
            while True:
                for name, *outcome in worker.compute(connection.recv(), tell):
                    connection.send(("done", name, tuple(outcome)))
        except MergebenchError as error:
            connection.send(("refused", "", (in_words(error),)))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, whatever it is at: nobody waits for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # as a worker's process was started by another
    wait([parent.sentinel])
    os._exit(1)
