"""Who holds something on a shared disk, and whether that process is no more, as far as this machine can tell."""

import os
from platform import node
from typing import Any, TypeGuard

import psutil

APART = 2.0  # seconds by which a start is known otherwise, when the clock was set meanwhile


def this_process() -> dict[str, Any]:
    """What tells this process from any other, on this machine and elsewhere, as JSON can hold it.

    A host's name is not enough: containers may share it, and count their processes anew. Where the kernel does not say
    which boot this is and whose processes are counted, these are empty, and nobody's end is known but by time.
    """
    return {
        "host": node(), "boot": _boot(), "processes": _namespace(),
        "pid": os.getpid(), "started": psutil.Process().create_time(),
    }  # fmt: skip


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether what JSON held is a number; true and false are none."""
    return type(value) in (int, float)


def is_no_more(holder: Any) -> bool:
    """Whether a process is known to have ended: one that counts among this machine's own, and is not there.

    Args:
        holder: as `this_process` gave it there; of anything else nothing is known.
    """
    if not isinstance(holder, dict):
        return False
    here = {"host": node(), "boot": _boot(), "processes": _namespace()}
    pid, started = holder.get("pid"), holder.get("started")
    if not all(here.values()) or any(holder.get(name) != value for name, value in here.items()):
        return False
    if type(pid) is not int or not is_number(started) or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's, of which no more may be known
        return False
    try:
        found = psutil.Process(pid)
        return abs(found.create_time() - started) > APART or found.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:  # it ends just now, or is hidden
        return False


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
