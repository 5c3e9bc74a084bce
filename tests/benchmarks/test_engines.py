"""What the page tells of engines is what was measured, and the script tells runs apart that are not the same."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engines(monkeypatch):
    """The script."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import engines

    yield engines
    del sys.modules["engines"]


def test_the_table_is_the_stored_one():
    stored = json.loads((ROOT / "docs/engines.json").read_text())
    page = (ROOT / "docs/benchmarks.md").read_text()
    table = re.search(r"<!-- engines -->(.*?)<!-- /engines -->", page, re.DOTALL)[1]
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table.strip().splitlines()[2:]]
    assert len(stored) == len(rows) == 3 and all(run["failed"] == 0 and run["cells"] == 46 for run in stored)
    alone = stored[0]["seconds"]
    for run, (seconds, ratio, cells, longest) in zip(stored, rows, strict=True):
        assert seconds == f"{run['seconds']:,.0f}" and ratio == f"{run['seconds'] / alone:.2f}" * (run is not stored[0])
        assert cells == f"{run['seconds_of_cells']:,.0f}" and longest == f"{run['longest_seconds']:.0f}"


def test_runs_are_held_to_each_other_by_counts_and_by_weights_of_one_thread(engines):
    def result(method, weights, correct):
        score = SimpleNamespace(correct=correct)
        return SimpleNamespace(method=method, seed=0, merged_weights=weights, tasks={"t": score})

    found = {
        "one process": [result("a", "x", 1), result("b", "x", 2)],
        "2 workers": [result("a", "y", 1), result("b", "y", 3)],
        "Ray, 2 nodes": [result("a", "y", 1), result("b", "z", 3)],
    }
    assert engines.differing(found) == {
        "counts of one process and 2 workers": ["b"],
        "counts of one process and Ray, 2 nodes": ["b"],
        "counts of 2 workers and Ray, 2 nodes": [],
        "weights of 2 workers and Ray, 2 nodes": ["b"],
    }
