"""A Ray cluster: every group of cells is a task of it, with the cores, memory and GPUs that it takes."""

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from mergebench.errors import MergebenchError, on_one_line, tell
from mergebench.measuring.keys import CellKey
from mergebench.merging.budget import Sizes, wanted
from mergebench.running.engine import PAUSE, Measured, Measuring
from mergebench.running.engines.telling import Teller
from mergebench.running.engines.worker import Job, Worker
from mergebench.running.groups import Group
from mergebench.running.observer import Observer
from mergebench.running.planned import Cell, Plan, RunRequest
from mergebench.running.work import Work

AHEAD = 2  # groups that wait with the cluster, beside those that can be computed at once
PROCESS = 10**9  # bytes that a process takes before it merges: Python, torch, images and activations
KNOCK = 10.0  # seconds within which whoever is at an address answers
LONGEST = 200  # characters of what Ray says that are shown


@dataclass
class _Task:
    """A task of the cluster.

    Args:
        stream: of what it gives.
        cells: that it has not given yet.
    """

    stream: Any
    cells: list[Cell]


class Cluster:
    """Computes on a Ray cluster; results come back to this process, which alone writes them down.

    Args:
        request: what was asked for, from which each worker makes its plan; every node has the same code, weights and
            images, or the results' keys would not be the same.
        threads: that one cell computes on; what Ray counts as cores.

    Raises:
        MergebenchError: Ray is not installed, or there is no cluster at the address that is named.
    """

    def __init__(self, request: RunRequest, threads: int | None = None) -> None:
        self._threads, self._told = threads or 1, False
        self._ray = _ray()
        if not self._ray.is_initialized():
            _join(self._ray)
        device = request.device
        if device == "auto":
            device = "cuda" if self._ray.cluster_resources().get("GPU") else "cpu"
        self.request = replace(request, device=device, elsewhere=True)

    def measure(self, plan: Plan, work: Work, observer: Observer, timeout: float | None) -> Measuring:
        """See `running.engine.Engine.measure`."""
        ray, streaming = self._ray, self._ray.remote(num_returns="streaming", max_retries=0)(_compute)
        device = "cuda" if plan.device.startswith("cuda") else plan.device  # a worker sees no GPU but its own
        request = replace(self.request, device=device, elsewhere=False, download=False)
        job = ray.put(Job(request, timeout, self._threads, os.getcwd()))
        teller, messages = Teller(plan, observer), _messages(ray)
        tasks: list[_Task] = []
        try:
            while True:
                room = self._room(plan, observer)
                while len(tasks) < room and (group := work.draw()):
                    chosen = streaming.options(**self._resources(plan, group), name=group.cells[0].card.name)
                    stream = chosen.remote(job, [cell.key for cell in group.cells], messages)
                    tasks.append(_Task(stream, list(group.cells)))
                if not tasks and not work.left:
                    yield None
                    return
                ready, _ = ray.wait([task.stream for task in tasks], timeout=PAUSE) if tasks else ([], [])
                if not tasks:
                    time.sleep(PAUSE)
                for message in messages.get_nowait_batch(messages.size()):
                    teller.tell(message)
                if not ready:
                    yield None
                for task in [task for task in tasks if task.stream in ready]:
                    yield from self._received(task, tasks, work, teller)
        finally:
            for task in tasks:
                ray.cancel(task.stream, force=True)
            messages.shutdown(force=True)

    def _received(self, task: _Task, tasks: list[_Task], work: Work, teller: Teller) -> Iterator[Measured]:
        """What a task has to give; what it was at is to be done again if its process, or its node, has died."""
        errors = self._ray.exceptions
        try:
            kind, name, content = self._ray.get(next(task.stream))
        except StopIteration:
            tasks.remove(task)
        except errors.RayTaskError:
            raise
        except errors.RayError as error:
            tasks.remove(task)
            told = on_one_line(str(error).partition("\n")[0], LONGEST).rstrip(".")
            yield from teller.ended(task.cells, work, f"its process ended ({type(error).__name__}: {told})")
        else:
            if kind == "refused":
                raise MergebenchError(f"node {name}: {content}")
            cell = teller.done(name)
            task.cells.remove(cell)
            yield Measured(cell, *content)

    def _resources(self, plan: Plan, group: Group) -> dict[str, Any]:
        """What a group's process takes of a node, in Ray's terms: each cell's, as they come one after the other."""
        sizes = Sizes.of(plan.workbench.layout, plan.workbench.zoo.base)
        memory = max(wanted([c.card], len(c.variant.merge) + bool(c.variant.previous), sizes) for c in group.cells)
        gpus = plan.devices if plan.device.startswith("cuda") else 0
        return {
            "num_cpus": self._threads,
            "num_gpus": gpus,
            "memory": PROCESS + memory,
            "scheduling_strategy": "SPREAD",
        }

    def _room(self, plan: Plan, observer: Observer) -> int:
        """How many groups the cluster, as large as it is now, is given at a time."""
        there = self._ray.cluster_resources()
        room = int(there.get("CPU", 0)) // self._threads
        if plan.device.startswith("cuda"):
            room = min(room, int(there.get("GPU", 0)) // plan.devices)
        if not room and not self._told:
            observer.tell(f"no node has {self._threads} cores, and the GPUs that are asked for, now; one is waited for")
            self._told = True
        return room + AHEAD


def _ray() -> ModuleType:
    try:
        import ray
        import ray.exceptions
        import ray.util.queue
    except ImportError as error:
        raise MergebenchError(
            f"--engine ray: Ray cannot be imported ({error}); install it too: pip install 'mergebench[ray]'"
        ) from None
    module: ModuleType = ray
    return module


def _join(ray: ModuleType) -> None:
    """Join the cluster that RAY_ADDRESS names, or the one that this machine is part of; else start one on it alone."""
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    named, usual = os.environ.get("RAY_ADDRESS"), signal.getsignal(signal.SIGTERM)
    try:
        _reach(named)
        ray.init(named or "auto", **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        if named:
            raise MergebenchError(f"RAY_ADDRESS={named}: no cluster answers ({on_one_line(error, LONGEST)})") from None
        tell("no Ray cluster is running here (RAY_ADDRESS names one): one is started on this machine alone")
        ray.init(include_dashboard=False, **quiet)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, usual)  # Ray's own would end this process without a word


def _reach(address: str | None) -> None:
    """Knock where a cluster is said to be: Ray itself would try for more than a minute.

    Raises:
        OSError: nobody answers there.
    """
    place = re.fullmatch(r"\[?([\w.:-]+?)\]?:(\d+)", address or "")  # of Ray's other addresses it knows more
    if place:
        socket.create_connection((place[1], int(place[2])), timeout=KNOCK).close()


def _messages(ray: ModuleType) -> Any:
    """A queue beside this process, for what is told on the way."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), False)
    return ray.util.queue.Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


_held: list[Worker] = []  # one: a process of a cluster computes many groups of a run, and plans once


def _compute(job: Job, keys: list[CellKey], messages: Any) -> Iterator[tuple[str, str, Any]]:
    """What a task of the cluster does: ("done", digest, what was found) for each cell, or why none can be computed."""
    try:
        if not _held or _held[0].job != job:
            _held.clear()
            _held.append(Worker(job))
        # Nothing is waited for: a task that waits lends its core to the next one, and both run on it.
        for name, *outcome in _held[0].compute(keys, messages.actor.put_nowait.remote):
            yield "done", name, outcome
    except MergebenchError as error:
        yield "refused", socket.gethostname(), str(error)
