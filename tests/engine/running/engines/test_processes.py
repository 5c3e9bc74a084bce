"""Processes of this machine compute what this one does, and one that dies costs nothing but time."""

import multiprocessing
from dataclasses import replace

import pytest
from runs import Watching, facts, files

from mergebench.errors import MergebenchError
from mergebench.measuring.results import ResultStore
from mergebench.running.engines.processes import Processes
from mergebench.running.plan import make_plan
from mergebench.running.runner import run

pytestmark = pytest.mark.long


def test_results_files_and_bits_are_those_of_one_process(request_, here, tmp_path):
    watching = Watching()
    engine = Processes(request_, 2, threads=1)
    summary = run(make_plan(request_), ResultStore(tmp_path), watching, None, None, engine)
    assert (facts(summary.results), files(tmp_path)) == here
    assert sorted(watching.begun) == sorted(name for name, _ in watching.ended)
    assert {("average", "digits"), ("regmean", "signs"), ("finetuned", "digits")} <= watching.tasks
    assert all(r.average_relative is not None for r in summary.results if r.status == "ok")
    assert not multiprocessing.active_children() and not list((tmp_path / "leases").iterdir())
    again = run(make_plan(request_), ResultStore(tmp_path), None, None, None, engine)
    assert again.reused == 5  # what failed is tried again


def test_processes_that_are_killed_cost_nothing_but_time(request_, here, tmp_path):
    watching = Watching(deadly="regmean")
    summary = run(make_plan(request_), ResultStore(tmp_path), watching, None, None, Processes(request_, 2, threads=1))
    assert facts(summary.results) == here[0]
    assert (
        "regmean: its process was ended by SIGKILL (often: no memory was left); it is computed again" in watching.told
    )


def test_what_ends_its_process_every_time_has_failed_and_costs_itself_alone(request_, methods, tmp_path):
    request = replace(request_, methods=["average", f"{methods}:dying"], hyperparameters={})
    watching = Watching()
    results = run(make_plan(request), ResultStore(tmp_path), watching, None, None, Processes(request, 1)).results
    assert {r.method: r.status for r in results} == {"finetuned": "ok", "average": "ok", "dying": "failed"}
    failed = next(r for r in results if r.status == "failed")
    assert failed.error == (
        "its process was ended by SIGKILL (often: no memory was left), and so did those that tried again"
    )
    assert sum("computed again" in line for line in watching.told) == 2


def test_other_code_than_planned_is_refused_by_name(request_, methods, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(methods.read_text())
    request = replace(request_, methods=[f"{mine}:failing"], hyperparameters={})
    plan = make_plan(request)
    mine.write_text(methods.read_text().replace("never works", "works never"))
    with pytest.raises(MergebenchError, match="failing on suite is another cell here than planned: source .* differ"):
        run(plan, ResultStore(tmp_path / "out"), None, None, None, Processes(request, 1))
    assert not multiprocessing.active_children() and not list((tmp_path / "out/leases").iterdir())
