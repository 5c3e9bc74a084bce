"""`mergebench run`: the whole way, resuming, failing cells, and what stands in a result."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mergebench.catalogue import registry
from mergebench.data.image_cache import load_split
from mergebench.measuring.results import Result, ResultStore
from mergebench.suites.bench import Bench

DIVERGING = """
from mergebench import Needs, merge_method

@merge_method("diverging", title="Diverging", needs=Needs())
def diverging(pool):
    return pool.map_experts(lambda experts: experts.mean(0) / 0)

@merge_method("peeking", title="Peeking", needs=Needs())
def peeking(pool):
    return dict(pool.base)

@merge_method("raising", title="Raising", needs=Needs())
def raising(pool):
    return {}[pool.tasks]

@merge_method("endless", title="Endless", needs=Needs())
def endless(pool):
    while True:
        pool.map_experts(lambda experts: experts.mean(0))

@merge_method("mine", title="Mine", needs=Needs(base=True))
def mine(pool, *, weight: float = 0.5):
    return pool.map_tensors(lambda base, experts: base + weight * (experts.mean(0) - base))
"""


def stored(out):
    return {r.method: r for r in ResultStore(out).all()}


def test_all_methods_are_measured_and_stored(mini_run, in_mini):
    results = stored(mini_run)
    assert set(results) == in_mini
    assert all(r.status == "ok" for r in results.values())


def test_a_result_counts_its_own_predictions(mini_run, mini_suite):
    zoo = Bench(str(mini_suite)).zoo
    for path in sorted(mini_run.glob("cells/mini/*.json")):
        result = Result.model_validate_json(path.read_text())
        predictions = np.load(path.with_suffix(".npz"))
        for task, score in result.tasks.items():
            labels = load_split(zoo.task(task), "test").labels
            assert score.total == len(labels) == 200
            assert score.correct == int((predictions[task] == labels).sum())


def test_accuracies_are_relative_to_the_experts_counts(mini_run):
    results = stored(mini_run)
    ceiling = results["finetuned"]
    assert ceiling.average_relative == 1
    for result in results.values():
        for task, score in result.tasks.items():
            assert score.expert_correct == ceiling.tasks[task].correct


def test_a_result_tells_what_it_was_made_from(mini_run):
    result = json.loads(next(mini_run.glob("cells/mini/regmean++-*.json")).read_text())
    settings = {"alpha": 0.95, "samples": 8, "ridge": 0.0, "final_norm": "base", "granularity": "block"}
    settings["precision"] = "float32"
    assert result["hyperparameters"] == settings
    assert set(result["weights"]) == {"base", "experts/digits", "experts/landcover", "heads/digits", "heads/landcover"}
    assert set(result["drawn"]) == {"digits/calibration", "landcover/calibration"}
    assert {"digits/test", "digits/calibration"} <= set(result["data"])
    assert result["merge"]["seconds"] > 0 and result["environment"]["packages"]["torch"]


def measured(out):
    """All that was measured, times included: no cell that is computed again takes the same time to the last digit."""
    return {p: json.loads(p.read_text()) | {"asked": "", "checksum": ""} for p in out.glob("cells/*/*.json")}


def test_run_again_computes_nothing(mini_run, mini_suite, command, in_mini):
    before = measured(mini_run)
    again = command("run", "--methods", "all", "--suite", mini_suite, "--out", mini_run)
    assert again.status == 0
    assert f"0 cells computed, {len(in_mini)} reused" in again.out
    assert measured(mini_run) == before


def test_a_damaged_result_is_computed_again(mini_suite, command, tmp_path):
    run = ("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path)
    assert command(*run).status == 0
    path = next(tmp_path.glob("cells/mini/average-*.json"))
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert "1 cell computed, 1 reused" in command(*run).out
    repaired = Result.model_validate_json(path.read_text())
    assert repaired.tasks == Result.model_validate_json(whole).tasks


@pytest.mark.long
def test_killed_in_the_middle_it_goes_on_where_it_was(mini_suite, command, tmp_path):
    names = {"finetuned", "average", "task_arithmetic", "ties", "regmean", "regmean++"}
    arguments = ["run", "--methods", *sorted(names), "--suite", str(mini_suite), "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mergebench", *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cells/mini/average-*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = measured(tmp_path)
    assert 0 < len(kept) < len(names)
    done = command(*arguments)
    assert done.status == 0 and f"{len(kept)} reused" in done.out
    assert measured(tmp_path).items() >= kept.items()
    assert set(stored(tmp_path)) == names


def test_other_hyperparameters_and_seeds_are_other_cells(mini_suite, command, tmp_path):
    run = ("run", "--suite", mini_suite, "--out", tmp_path, "--methods")
    command(*run, "regmean", "--seeds", 0, 1)
    command(*run, "regmean", "--set", "regmean.alpha=0.5")
    cells = [r for r in ResultStore(tmp_path).all() if r.method == "regmean"]
    assert sorted((r.seed, r.hyperparameters["alpha"]) for r in cells) == [(0, 0.5), (0, 0.95), (1, 0.95)]
    first, second = (next(r for r in cells if r.seed == s and r.hyperparameters["alpha"] == 0.95) for s in (0, 1))
    assert first.drawn != second.drawn


def test_a_config_file_says_the_same_as_options(mini_suite, command, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        f"methods: [ties]\nsuite: {mini_suite}\nout: {tmp_path / 'a'}\nhyperparameters: {{ties: {{density: 0.4}}}}\n"
    )
    assert command("run", "--config", config).status == 0
    assert (
        command(
            "run", "--methods", "ties", "--suite", mini_suite, "--out", tmp_path / "b", "--set", "ties.density=0.4"
        ).status
        == 0
    )
    assert stored(tmp_path / "a")["ties"].tasks == stored(tmp_path / "b")["ties"].tasks


@pytest.mark.long
def test_a_failing_method_costs_its_own_cell_alone(mini_suite, command, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(DIVERGING)
    arguments = ("--methods", plugin, "average", "--suite", mini_suite, "--out", tmp_path / "out", "--timeout", 3)
    done = command("run", *arguments)
    assert done.status == 1
    results = stored(tmp_path / "out")
    assert "NaN or infinite" in results["diverging"].error
    assert "peeking" in results["peeking"].error and "needs=Needs(base=True)" in results["peeking"].error
    assert results["raising"].error == "KeyError: ('digits', 'landcover')"
    assert results["endless"].error == "merging was stopped after 3 s, the limit set by --timeout"
    assert results["mine"].status == results["average"].status == "ok"
    page = (tmp_path / "out" / "site" / "index.html").read_text()
    assert "Mine" in page and "NaN or infinite" in page


def test_a_file_and_a_function_in_it_can_be_named(mini_suite, command, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(DIVERGING)
    done = command("run", "--methods", f"{plugin}:mine", "--suite", mini_suite, "--out", tmp_path / "out")
    assert done.status == 0
    assert set(stored(tmp_path / "out")) == {"mine", "finetuned"}


@pytest.mark.parametrize("family", ["references", "data-free", "calibration", "test-time"])
def test_families_select_what_the_list_says(family, command):
    listed = [line.split()[0] for line in command("list", "methods").out.splitlines() if line.split()[1] == family]
    assert listed == [c.name for c in registry.select_methods([family])]
