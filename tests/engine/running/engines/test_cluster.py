"""A real Ray cluster of two nodes on this machine computes what one process does, also when a node is killed."""

import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from runs import Watching, facts, files

from mergebench.errors import MergebenchError
from mergebench.measuring.results import ResultStore
from mergebench.running.engines.cluster import Cluster, _join
from mergebench.running.plan import make_plan
from mergebench.running.runner import run

pytestmark = pytest.mark.long

pytest.importorskip("ray", reason="Ray is not installed (pip install 'mergebench[ray]')")


@pytest.fixture(scope="module")
def cluster(image_cache):
    """A head that computes nothing, and two nodes of one core."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else it waits for whatever else this machine does
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes.pair = [nodes.add_node(num_cpus=1) for _ in range(2)]
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def node_of(cluster, name):
    """The node on which a task of that name is run: the one whose raylet has started the process."""
    parents = {p.ppid() for p in psutil.process_iter() if any(f"ray::{name}" in part for part in p.cmdline())}
    return next(n for n in cluster.pair if n.all_processes["raylet"][0].process.pid in parents)


def die(cluster, node):
    """End a node as a power cut does, all of its processes at once; Ray's own way ends one, which others notice."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    workers = raylet.children(recursive=True)
    cluster.pair.remove(node)
    cluster.remove_node(node, allow_graceful=False)
    for process in workers:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(workers, timeout=10)


def test_no_core_has_two_cells_at_once(cluster, request_, methods, tmp_path):
    """A task that waited for anything would lend its core to another."""
    asked = replace(request_, methods=[f"{methods}:noted"], hyperparameters={}, seeds=range(6))
    engine = Cluster(asked, threads=1)
    summary = run(make_plan(engine.request), ResultStore(tmp_path), None, None, None, engine)
    assert [r.status for r in summary.results] == ["ok"] * 12  # with the experts, of every seed
    lines = Path(f"{methods}.log").read_text().split()
    assert lines.count("begins") == lines.count("ends") == 6
    at_once = [lines[: n + 1].count("begins") - lines[: n + 1].count("ends") for n in range(len(lines))]
    assert max(at_once) == len(cluster.pair)


def test_one_node_is_killed_in_the_middle_and_nothing_is_lost(cluster, request_, here, methods, tmp_path):
    hold = Path(f"{methods}.hold")

    class Killing(Watching):
        def cell(self, cell):
            super().cell(cell)
            if cell.card.name == "waiting" and len(cluster.pair) == 2:
                die(cluster, node_of(cluster, "waiting"))
                hold.unlink()

    engine, watching = Cluster(request_, threads=1), Killing()
    plan = make_plan(engine.request)
    assert plan.device == "cpu"
    hold.touch()
    try:
        summary = run(plan, ResultStore(tmp_path), watching, None, None, engine)
    finally:
        hold.unlink(missing_ok=True)
    assert (facts(summary.results), files(tmp_path)) == here
    assert len(cluster.pair) == 1
    assert any(line.startswith("waiting: its process ended (") and "again" in line for line in watching.told)
    assert sorted({*watching.begun}) == sorted({name for name, _ in watching.ended})


def test_other_code_on_a_node_is_refused_with_its_name(cluster, request_, methods, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(methods.read_text())
    engine = Cluster(replace(request_, methods=[f"{mine}:failing"], hyperparameters={}), threads=1)
    plan = make_plan(engine.request)
    mine.write_text(methods.read_text().replace("never works", "works never"))
    with pytest.raises(MergebenchError, match=f"node {os.uname().nodename}: failing on suite is another cell here"):
        run(plan, ResultStore(tmp_path / "out"), None, None, None, engine)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "[::1]:1"])
def test_where_nobody_answers_ray_is_not_asked_to_try_for_a_minute(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(MergebenchError, match=f"RAY_ADDRESS={re.escape(address)}: no cluster answers"):
        _join(SimpleNamespace(init=lambda *_, **__: pytest.fail("it was asked")))


def test_a_group_takes_of_a_node_what_its_card_and_the_zoo_say(cluster, request_):
    engine = Cluster(request_, threads=3)
    plan = make_plan(engine.request)
    from mergebench.running.groups import grouped

    needed = {g.cells[0].card.name: engine._resources(plan, g) for g in grouped(plan.cells)}
    assert {told["num_cpus"] for told in needed.values()} == {3} and {n["num_gpus"] for n in needed.values()} == {0}
    assert needed["regmean"]["memory"] > needed["average"]["memory"] > 10**9
