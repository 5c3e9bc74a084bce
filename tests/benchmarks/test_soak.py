"""Forty cells in one process: what it holds after them is what it held after the first few, failures or none."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def soak(monkeypatch):
    """The module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import soak

    yield soak
    del sys.modules["soak"]


def test_forty_cells_leave_nothing_behind(soak, tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    failing = tmp_path / "failing.py"
    failing.write_text(soak.FAILING)
    early, late = soak.soak(tmp_path, 40, 20, ["dare", "regmean", f"{failing}:failing"])
    assert (early.cells, late.cells) == (20, 40)
    # A failed merge alone held 150 tensors, of seven megabytes, for as long as the run.
    assert late.tensors <= early.tensors + 2 * 20  # the labels of what was measured
    assert late.megabytes <= early.megabytes + 0.5
    assert late.files <= early.files + 1
    assert late.threads <= early.threads + 1
    # Results are kept to be shown: what of them the collector knows, and scores.
    assert late.objects <= early.objects + 20 * 200
