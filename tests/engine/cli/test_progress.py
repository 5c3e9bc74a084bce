"""What is shown while cells run."""

import io

from rich.console import Console

from mergebench.cli.progress import ProgressObserver
from mergebench.measuring.results import ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run


def test_a_terminal_shows_the_method_the_task_and_the_steps(mini_suite, tmp_path):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=150, color_system=None)
    plan = make_plan(RunRequest(methods=["average"], suite=str(mini_suite)))
    with ProgressObserver(console) as observer:
        run(plan, ResultStore(tmp_path), observer)
    for part in (
        "average: digits",
        "6/6",
        "method x task",
        "left",
        "finetuned (seed 0)",
        "average (seed 0)",
        "merge 0.",
    ):
        assert part in screen.getvalue()


def test_a_file_gets_a_line_per_cell_and_no_bar(mini_suite, tmp_path):
    screen = io.StringIO()
    plan = make_plan(RunRequest(methods=["average"], suite=str(mini_suite)))
    with ProgressObserver(Console(file=screen, width=150)) as observer:
        run(plan, ResultStore(tmp_path), observer)
    lines = screen.getvalue().strip().splitlines()
    assert len(lines) == 3 and "2 cells (2 to compute)" in lines[0]
    assert "\x1b" not in screen.getvalue()


def test_quietly_only_what_comes_of_it_is_shown(command, mini_suite, tmp_path):
    loud = command("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path / "loud")
    hushed = command("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path / "hushed", "--quiet")
    assert "average (seed 0)" in loud.out and "average (seed 0)" not in hushed.out
    for done in (loud, hushed):
        assert done.status == 0 and "2 cells computed" in done.out and "Simple Averaging" in done.out
    output = tmp_path / "merged.safetensors"
    done = command("merge", "-q", "--method", "average", "--suite", mini_suite, "--output", output)
    assert (
        (done.status, done.err) == (0, "") and done.out.startswith("merged 2 experts with average") and output.exists()
    )


def test_the_traceback_of_a_failure_is_shown_where_it_is_asked_for(command, mini_suite, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from mergebench import ModelPool, StateDict, merge_method\n\n\n"
        "@merge_method('broken', title='Broken')\n"
        "def broken(pool: ModelPool) -> StateDict:\n"
        "    return helper()\n\n\n"
        "def helper():\n"
        "    raise ValueError('no [bold]such[/] thing')\n"
    )
    given = ("run", "--methods", tmp_path / "mine.py", "--suite", mini_suite, "--out", tmp_path / "out")
    short, long = command(*given), command(*given, "-v")
    for done in (short, long):
        assert done.status == 1 and "failed: ValueError: no [bold]such[/] thing" in done.out
    assert "Traceback" not in short.out
    assert all(part in long.out for part in ("Traceback", "mine.py", "in helper", "return helper()"))
