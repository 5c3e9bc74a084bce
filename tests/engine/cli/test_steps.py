"""How far a long loop is: a bar on a terminal, elsewhere a line now and then, with the time that is left."""

import io
import pickle
import sys

import pytest
from rich.console import Console

from mergebench.cli import steps as steps_module
from mergebench.cli.progress import ProgressObserver
from mergebench.cli.steps import Lines, Steps
from mergebench.measuring.results import ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    time = [0.0]
    monkeypatch.setattr(steps_module.time, "monotonic", lambda: time[0])

    def at(seconds):
        time[0] = seconds

    return at


def on_a_terminal(monkeypatch):
    """A standard error output that is one; what it shows."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_lines_come_now_and_then_and_tell_the_time_left(clock):
    lines, said = Lines(), {}
    for done in range(101):
        clock(2.0 * done)
        said[done] = lines.due("steps, loss 0.5", done, 100)
    assert {done: line for done, line in said.items() if line} == {
        15: "15 of 100 steps, loss 0.5, 30 s, about 170 s left",
        30: "30 of 100 steps, loss 0.5, 60 s, about 140 s left",
        45: "45 of 100 steps, loss 0.5, 90 s, about 110 s left",
        60: "60 of 100 steps, loss 0.5, 120 s, about 80 s left",
        75: "75 of 100 steps, loss 0.5, 150 s, about 50 s left",
        90: "90 of 100 steps, loss 0.5, 180 s, about 20 s left",
    }


def test_another_loop_has_a_pace_of_its_own(clock):
    lines = Lines()
    for done in range(10):
        clock(done)
        assert not lines.due("images", done, 10)
    clock(40)
    assert lines.due("tensors", 0, 1000) == "0 of 1,000 tensors, 40 s"
    clock(70)
    assert lines.due("tensors", 300, 1000) == "300 of 1,000 tensors, 70 s, about 70 s left"
    clock(100)
    assert lines.due("tensors", 0, 1000) == "0 of 1,000 tensors, 100 s"  # begun anew


def test_what_is_quick_says_nothing(capsys):
    with Steps("merge average") as steps:
        for done in range(3):
            steps("tensors", done, 3)
    assert capsys.readouterr().err == ""


def test_a_file_gets_lines_on_standard_error(clock, capsys):
    with Steps("finetune") as steps:
        steps("steps", 1, 10)
        clock(31)
        steps("steps", 2, 10)
    said = capsys.readouterr()
    assert said.err == "finetune: 2 of 10 steps, 31 s, about 248 s left\n" and said.out == ""


def test_a_terminal_gets_a_bar_that_is_gone_in_the_end(monkeypatch):
    screen = on_a_terminal(monkeypatch)
    monkeypatch.setattr(steps_module, "QUICK", 0.0)
    with Steps("finetune") as steps:
        steps("steps, loss 0.512", 5, 10)
    for part in ("finetune", "5/10", "steps, loss 0.512", "left"):
        assert part in screen.getvalue()


def test_a_copy_goes_to_another_process():
    with Steps("finetune") as steps:
        assert isinstance(pickle.loads(pickle.dumps(steps)), Steps)


@pytest.mark.parametrize(("terminal", "wanted"), [(False, "  regmean: merging, 3 of 5 blocks, "), (True, "blocks")])
def test_a_run_tells_how_far_a_long_merge_is(terminal, wanted, mini_suite, tmp_path, monkeypatch):
    monkeypatch.setattr(steps_module, "EVERY", 0.0)
    plan = make_plan(RunRequest(methods=["regmean"], suite=str(mini_suite)))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=150, color_system=None, soft_wrap=True)
    with ProgressObserver(console) as observer:
        run(plan, ResultStore(tmp_path), observer)
    assert wanted in screen.getvalue()


def test_quietly_it_says_nothing_however_long_it_takes(clock, capsys):
    with Steps("finetune", quiet=True) as steps:
        steps("steps", 1, 10)
        clock(100)
        steps("steps", 2, 10)
    said = capsys.readouterr()
    assert said.err == said.out == ""


def test_a_bar_waits_until_a_loop_is_long(clock, monkeypatch):
    screen = on_a_terminal(monkeypatch)
    with Steps("pages") as steps:
        clock(0.5)
        steps("pages", 1, 10)
        assert screen.getvalue() == ""
        clock(1.5)
        steps("pages", 2, 10)
    assert "2/10" in screen.getvalue()


def test_reading_and_writing_the_pages_are_told(mini_run, command, monkeypatch):
    monkeypatch.setattr(steps_module, "QUICK", 0.0)
    screen = on_a_terminal(monkeypatch)
    assert command("leaderboard", "--out", mini_run).status == 0
    for part in ("reading", "results", "boards", "pages", "left"):
        assert part in screen.getvalue()
