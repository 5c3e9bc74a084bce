"""`run --engine`, `--workers` and `--shard`: what they refuse, what parts come to, and how several processes stop."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from runs import facts

from mergebench.measuring.results import ResultStore

pytestmark = pytest.mark.long

METHODS = ("average", "ties", "task_arithmetic", "breadcrumbs")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "ray", "--workers", "2"], "--workers 2 is for --engine local; a cluster has as many"),
        (["--shard", "2"], "--shard 2: write which part of how many, as 1/4"),
        (["--shard", "0/2"], "--shard 0/2: the parts of 2 are 1 to 2"),
        (["--shard", "3/2"], "--shard 3/2: the parts of 2 are 1 to 2"),
        (["--shard", "-1/2"], "--shard"),
        (["--workers", "0"], "--workers"),
        (["--engine", "slurm"], "--engine"),
    ],
)
def test_what_does_not_go_together_is_refused(options, told, mini_suite, command, tmp_path):
    done = command("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path / "out", *options)
    assert done.status == 2 and told in done.err and len(done.err.splitlines()) == 1, done
    assert not (tmp_path / "out").exists()


def test_without_ray_its_engine_says_how_to_get_it(mini_suite, command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = command("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path / "out", "--engine", "ray")
    assert done.status == 2 and "install it too: pip install 'mergebench[ray]'" in done.err, done


def test_a_cluster_that_does_not_answer_is_named(mini_suite, command, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'mergebench[ray]')")
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:but:here")
    done = command("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path / "out", "--engine", "ray")
    assert done.status == 2 and "RAY_ADDRESS=nowhere:but:here: no cluster answers" in done.err, done


def test_parts_in_one_folder_are_the_whole_run(mini_suite, command, tmp_path):
    run = ("run", "--methods", *METHODS, "--suite", mini_suite, "--out")
    assert "5 cells computed" in command(*run, tmp_path / "whole").out
    second = command(*run, tmp_path / "parts", "--shard", "2/2")
    assert "3 cells computed, 0 reused" in second.out  # two of four, and the experts
    first = command(*run, tmp_path / "parts", "--shard", "1/2")
    assert "2 cells computed, 1 reused" in first.out
    whole, parts = (facts(ResultStore(tmp_path / name).all()) for name in ("whole", "parts"))
    assert whole == parts and all(weights for _, _, weights, _ in whole.values())
    assert "0 cells computed, 5 reused" in command(*run, tmp_path / "parts").out


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_with_workers_it_stops_as_without_and_leaves_no_process(number, status, word, mini_suite, command, tmp_path):
    arguments = ["run", "--methods", *METHODS, "--suite", str(mini_suite), "--out", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mergebench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell has what it starts in the background ignore SIGINT, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if " %  " in line:  # the first cell is done, others are under way
            break
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)  # as a terminal does
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (status, f"mergebench: {word}; finished cells are kept, run again to go on\n")
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert not list(tmp_path.glob("leases/*")) and not list(tmp_path.glob("cells/*/.*"))
    kept = len(list(ResultStore(tmp_path).all()))
    assert 1 <= kept < 5
    assert re.search(rf"\b{5 - kept} cells? computed, {kept} reused", command(*arguments[:-2]).out)


def test_workers_end_with_the_process_that_started_them(mini_suite, tmp_path):
    arguments = ["run", "--methods", *METHODS, "--suite", str(mini_suite), "--out", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mergebench", *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(found := psutil.Process(process.pid).children(recursive=True)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert len(found) >= 2 and not psutil.wait_procs(found, timeout=30)[1]


COUNTED = """
import time
from pathlib import Path
from mergebench import Needs, merge_method

@merge_method("counted", title="Counted", needs=Needs(base=True))
def counted(pool, *, share: float = 0.5):
    with Path(__file__).with_suffix(".log").open("a") as log:
        log.write("merged\\n")
    time.sleep(0.3)
    return pool.map_tensors(lambda base, experts: base + share * (experts.mean(0) - base))
"""


def test_of_runs_on_one_folder_at_once_each_cell_is_computed_by_one(mini_suite, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(COUNTED)
    seeds = [str(seed) for seed in range(4)]
    run = ["run", "--methods", f"{mine}:counted", "--suite", str(mini_suite), "--seeds", *seeds, "--out"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "mergebench", *run, str(tmp_path / "out"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for options in ([], ["--workers", "2"], ["--shard", "1/2"])
    ]
    told = [process.communicate(timeout=200) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    assert len(mine.with_suffix(".log").read_text().splitlines()) == len(seeds)
    computed = [int(re.search(r"(\d+) cells? computed", out)[1]) for out, _ in told]
    assert sum(computed) == 2 * len(seeds), computed  # the experts' too
    results = list(ResultStore(tmp_path / "out").all())
    assert len(results) == 2 * len(seeds) and all(r.proven and r.average_relative is not None for r in results)
    assert not list(tmp_path.glob("out/leases/*"))
