"""A command of mergebench in a process of its own: seconds, peak memory, and an end to what takes too much."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

import psutil

# The kernel's mark of a process of its own: that of a child (`ru_maxrss`) would begin with its parent's.
CHILD = """
import json, re, sys, time
import mergebench.running.own_merge
from mergebench.cli import main
start, used = time.perf_counter(), time.process_time()
status = main(sys.argv[1:]) if sys.argv[1:] else 0
seconds, used = round(time.perf_counter() - start, 2), round(time.process_time() - used, 2)
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e9
print("\\nmeasured", json.dumps({"seconds": seconds, "processor_seconds": used, "peak_gb": round(peak, 3)}))
sys.exit(status)
"""
MARK = "measured "
# Threads that wait for each other spin, and count as if they worked; and other jobs find a core of their own.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LOOK = 0.25  # seconds between two looks at how long it has run and what it holds


def measured(arguments: list[str], limit: float = float("inf"), memory: float = float("inf")) -> dict[str, Any]:
    """What a command line took on one thread, from after its imports on.

    Args:
        arguments: of mergebench; none measures Python with all packages.
        limit: processor seconds after which it is ended, with all that it started. (Seconds by the clock are other
            people's as well: beside them a merge takes any number of these.)
        memory: gigabytes above which it is ended, too.

    Returns:
        `seconds`, `processor_seconds` and `peak_gb`; `others`, the share of the machine's processors
        that others kept busy meanwhile; `ended`, why it did not come to its end, with what it had taken until then, or
        "".
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        start, busy, own = time.perf_counter(), _busy(), _of_children()
        command = [sys.executable, "-c", CHILD, *arguments]
        environment = os.environ | ONE_THREAD
        child = subprocess.Popen(command, stdout=out, stderr=errors, env=environment, start_new_session=True)
        held, used, ended = 0.0, 0.0, ""
        try:
            while child.poll() is None and not ended:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(LOOK)
                with suppress(psutil.Error):
                    process = psutil.Process(child.pid)
                    held = max(held, process.memory_info().rss / 1e9)
                    used = process.cpu_times().user + process.cpu_times().system
                if used > limit:
                    ended = f"over {limit:g} s"
                elif held > memory:
                    ended = f"over {memory:g} GB"
        finally:
            if child.poll() is None:  # on an interrupt, too
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        wall = time.perf_counter() - start
        own = _of_children() - own
        others = (_busy() - busy - own) / (wall * psutil.cpu_count())
        for file in (out, errors):
            file.seek(0)
        told = [line for line in out.read().splitlines() if line.startswith(MARK)]
        said = [line for line in errors.read().splitlines() if line.strip()]
    found = {"seconds": round(wall, 2), "processor_seconds": round(own, 2), "peak_gb": round(held, 3)}
    if child.returncode == 0 and told:
        found, ended = json.loads(told[-1].removeprefix(MARK)), ""
    elif not ended:
        ended = "failed: " + (said or [f"status {child.returncode}"])[-1]
    return found | {"others": round(max(others, 0.0), 2), "ended": ended}


def _busy() -> float:
    """Processor seconds that the machine has spent on anything."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def _of_children() -> float:
    """Processor seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system
