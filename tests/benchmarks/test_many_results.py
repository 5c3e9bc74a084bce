"""Made-up results are results: they prove what they say, have the keys of their cells, and stand on boards."""

import itertools
import sys
from pathlib import Path

import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.series import make_series
from mergebench.measuring.results import ResultStore

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def many(monkeypatch):
    """The module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import many_results

    yield many_results
    for name in ("many_results", "run_cost"):
        del sys.modules[name]


def test_made_up_results_are_as_measured_ones(many, tmp_path, monkeypatch):
    real = many.made_up
    assert len(list(real(5))) == 10_000 == len({made.key.digest for made in real(5)})
    monkeypatch.setattr(many, "IMAGES", 20)
    monkeypatch.setattr(many, "made_up", lambda seeds: itertools.islice(real(seeds), 80))
    assert many.fill(tmp_path, 1) == 80
    results, told = ResultStore(tmp_path).survey()
    assert len(results) == 80 and told == [] and all(r.proven for r in results)
    assert len(make_boards(r for r in results if not r.point)) == 10
    assert len(make_series(results)[0].points) == 20
    costs = many.look_through(tmp_path, 1)
    assert len(costs) == 2 and ResultStore(tmp_path).survey()[1] == []
