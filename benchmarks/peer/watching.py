"""Seconds of a merge and the peak of its process, as one line of JSON behind a mark."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

MARK = "watched: "


@contextmanager
def watched() -> Iterator[None]:
    """Tell on the true standard output what the block takes: wall seconds, resident gigabytes before it and at most.

    The kernel's mark of the peak is this process's own and begins anew with the block.
    """
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        yield
    seconds = time.perf_counter() - start
    print(MARK + json.dumps({"seconds": seconds, "before_gb": before, "peak_gb": _status("VmHWM")}), flush=True)


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e9
