"""How a worker's process begins: forked off one that has only imported libraries, or anew."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

NAME = "mergebench-worker"
# What takes nearly all of a start. None of the project's own modules: they may be edited between two runs.
IMPORTED = ("torch", "timm", "torchvision", "lightning.pytorch")


def started(device: str, target: Callable[..., None], args: tuple[Any, ...]) -> "BaseProcess":
    """Start a process that computes on a device.

    This process may have used threads or a GPU, and cannot be forked itself. On Linux another one imports the libraries
    once, and each worker is forked off it: in tenths of a second, and with the libraries in memory once. For a GPU each
    starts anew, as nobody promises that no library asks for one when it is imported; so it is elsewhere, where the
    system's own libraries bear no fork.

    Args:
        device: "cpu", "cuda" or "cuda:N".
        target, args: what it calls, with what. Its environment may be that of an earlier start.
    """
    if device.startswith("cuda") or sys.platform != "linux":
        process: BaseProcess = multiprocessing.get_context("spawn").Process(target=target, args=args, name=NAME)
        with _uninterrupted():
            process.start()
        return process
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    with _uninterrupted():
        forkserver.ensure_running()
    process = context.Process(target=target, args=args, name=NAME)
    process.start()  # waits for the imports; a process that was forked when that is interrupted ends with this one
    return process


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
