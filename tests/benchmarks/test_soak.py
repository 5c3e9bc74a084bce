"""Forty cells in one process: what it holds after them is what it held after the first few, failures or none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def test_forty_cells_leave_nothing_behind(tmp_path):
    # In a process of its own: what the tests before it left behind in this one goes, or grows, when it will.
    seen = tmp_path / "seen.json"
    command = [sys.executable, SOAK, "--cells", "40", "--every", "20", "--failing", "--threads", "1", "--json", seen]
    environment = os.environ | {"MERGEBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    early, late = json.loads(seen.read_text())
    assert (early["cells"], late["cells"]) == (20, 40)
    # A failed merge alone held 150 tensors, of seven megabytes, for as long as the run.
    assert late["tensors"] <= early["tensors"] + 2 * 20  # the labels of what was measured
    assert late["megabytes"] <= early["megabytes"] + 0.5
    assert late["files"] <= early["files"] + 1
    assert late["threads"] <= early["threads"] + 1
    # Results are kept to be shown: what of them the collector knows, and scores.
    assert late["objects"] <= early["objects"] + 20 * 200
