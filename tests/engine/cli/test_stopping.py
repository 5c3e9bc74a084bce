"""SIGTERM, as Slurm, systemd and `timeout` send it: whatever a verb is doing, it stops, and says so by its status."""

import signal
import subprocess
import sys
from importlib.resources import files

import pytest

import mergebench.measuring.classifier
import mergebench.training.finetuning
from mergebench.measuring.results import ResultStore
from mergebench.tasks.tiny import weights

MORTAL = """
import signal
from mergebench import Needs, merge_method

@merge_method("mortal", title="Mortal", needs=Needs(), ranges={"share": (0.0, 1.0)})
def mortal(pool, *, share: float = 0.0):
    if share != 0.5:
        signal.raise_signal(signal.SIGTERM)
    return pool.map_experts(lambda experts: experts.mean(0))
"""


@pytest.fixture(autouse=True)
def usual():
    """Handlers as a shell leaves them, and found so again."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def suite(write):
    return "--suite", write("two", title="t", zoo="tiny", merge=["landcover", "digits"], evaluate=["digits"])


@pytest.fixture
def mortal(tmp_path):
    (tmp_path / "mortal.py").write_text(MORTAL)
    return f"{tmp_path / 'mortal.py'}:mortal"


def terminated(*arguments):
    signal.raise_signal(signal.SIGTERM)


def test_while_a_method_merges_run_keeps_the_finished_cells(suite, mortal, command, tmp_path):
    run = ("run", *suite, "--out", tmp_path / "out", "--methods", mortal, "average")
    stopped = command(*run)
    assert stopped.status == 143, stopped
    assert stopped.err == "mergebench: terminated; finished cells are kept, run again to go on\n"
    kept = {r.method: r.status for r in ResultStore(tmp_path / "out").all()}
    assert kept and "mortal" not in kept and set(kept.values()) == {"ok"}
    assert f"{len(kept)} reused" in command(*run, "--set", "mortal.share=0.5").out


def test_inside_lightning_no_verb_goes_on_or_says_that_all_went_well(suite, command, tmp_path, monkeypatch):
    out, expert = tmp_path / "out", files(weights) / "experts" / "digits.safetensors"
    monkeypatch.setattr(mergebench.measuring.classifier.MultiTaskClassifier, "test_step", terminated)
    monkeypatch.setattr(mergebench.training.finetuning.FineTuning, "training_step", terminated)
    told = {
        ("run", "--methods", "average", *suite, "--out", out): "finished cells are kept, run again to go on",
        ("tune", "ties", *suite, "--trials", 1, "--out", out): "finished trials are kept, run again to go on",
        ("evaluate", expert, *suite, "--json", out / "counts.json"): "nothing was written",
        ("finetune", "--task", "digits", "--steps", 2, "--output", out / "x.safetensors"): "with --checkpoints, the",
    }
    for arguments, kept in told.items():
        stopped = command(*arguments)
        assert stopped.status == 143 and len(stopped.err.splitlines()) == 1, stopped
        assert stopped.err.startswith(f"mergebench: terminated; {kept}")
    assert not [p for p in out.rglob("*.*") if p.is_file()], "nothing was measured, nothing is left half written"


def test_what_lets_nothing_out_is_ended_all_the_same():
    script = """if True:
        import signal, time
        from mergebench.cli import stopping
        stopping.GRACE = 0.2
        with stopping.terminable("told"):
            while True:
                try:
                    signal.raise_signal(signal.SIGTERM)
                    time.sleep(60)
                except BaseException:
                    time.sleep(60)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (143, "told\n")


WORKERS = """
import multiprocessing, os, signal, sys, threading, time
from mergebench.cli import stopping
from mergebench.errors import Terminated


def work(content):
    time.sleep(60)


if __name__ == "__main__":
    try:
        with stopping.terminable("told"):
            threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
            for size in (0, 10**8) if sys.argv[1] == "starting" else (0,):  # more than a pipe takes before it is read
                multiprocessing.get_context("spawn").Process(target=work, args=(bytes(size),)).start()
            time.sleep(60)
    except Terminated:
        for child in multiprocessing.active_children():
            child.join(20)
        print("left", len(stopping._workers()))
"""


@pytest.mark.parametrize("when", ["starting", "working"])
def test_processes_that_share_the_work_end_with_it_and_say_nothing(tmp_path, when):
    (tmp_path / "workers.py").write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, tmp_path / "workers.py", when], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left 0\n", "")
