"""Help and lists answer without the heavy libraries."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mergebench import tasks

WEIGHTS = Path(tasks.__file__).parent / "tiny" / "weights"
HEAVY = ("torch", "lightning", "timm", "torchvision", "open_clip", "optuna")
DRAWING = ("scipy.stats", "matplotlib")  # what the page's diagrams need, where they are not there already


RUN = ["run", "--methods", "average", "task_arithmetic"]


@pytest.fixture
def tiny_suite(write):
    """Of the shipped zoo: what one's own is made of is looked at anew, whatever is noted."""
    return write("two", title="two", zoo="tiny", merge=["landcover", "digits"])


def imported(*commands, kinds=HEAVY):
    """Which of the heavy libraries a process that runs commands, all of which go well, has imported in the end."""
    code = f"""
import sys
from mergebench.cli import main
for words in {[[str(word) for word in words] for words in commands]!r}:
    try:
        status = main(words)
    except SystemExit as leave:
        status = leave.code
    assert status in (0, None), (words, status)
print([m for m in {kinds!r} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["tune", "--help"],
        ["check", "--help"],
        ["list", "methods"],
        ["list", "suites"],
        ["list", "zoos"],
        ["list", "tasks"],
        ["describe", "ties"],
        ["table", "--help"],
    ],
)
def test_nothing_heavy_is_imported(arguments):
    assert imported(arguments) == []


@pytest.mark.long
def test_a_finished_run_is_known_and_shown_without_what_merges_and_evaluates(tiny_suite, tmp_path):
    out = tmp_path / "out"
    run = [*RUN, "--suite", tiny_suite, "--out", out]
    assert {"torch", "lightning"} <= set(imported(run))
    assert imported(run, [*run, "--dry-run"], ["table", "--out", out]) == []
    assert imported(["leaderboard", "--out", out], kinds=(*HEAVY, *DRAWING)) == []
    # Nor is it where the run is finished in part: that is found out, and what is missing measured.
    assert {"torch", "lightning"} <= set(imported([*run[:3], "pretrained", *run[4:]]))


@pytest.mark.long
def test_a_merge_without_evaluation_imports_nothing_that_evaluates(tmp_path, tiny_suite):
    evaluating = ("lightning", "torchmetrics", "optuna", "open_clip")
    out = tmp_path / "merged.safetensors"
    suite = ["merge", "--suite", tiny_suite, "--method", "average", "--output", out]
    files = ["--experts", *(str(WEIGHTS / f"experts/{task}.safetensors") for task in ("digits", "signs"))]
    own = ["merge", "--base", "tiny", *files, "--method", "average", "--output", out]
    plan = [*RUN, "--suite", tiny_suite, "--out", tmp_path / "out", "--dry-run"]
    assert imported(suite, own, plan, kinds=evaluating) == []


def test_every_registered_thing_is_listed_and_described(command):
    from mergebench.catalogue import registry

    kinds = {
        "methods": registry.methods(),
        "suites": registry.config_files("suites"),
        "zoos": registry.config_files("zoos"),
        "tasks": registry.tasks(),
    }
    for kind, known in kinds.items():
        listed = [line.split()[0] for line in command("list", kind).out.splitlines()[1:]]
        assert listed == list(known)
        for name in known:
            described = command("describe", name)
            assert described.status == 0 and described.out.startswith(f"{name}:")


def test_describe_tells_needs_formula_and_hyperparameters(command):
    out = command("describe", "regmean++").out
    for part in (
        "arXiv:2508.03121",
        "base, calibration",
        "final_norm=average  calibration",
        "W^T = ",
        "alpha            0.95",
        "a number from 0 to 1",
        "block or linear",
        "float32 or bfloat16",
        "factor on the off-diagonal entries",
    ):
        assert part in out


def test_no_type_of_a_setting_is_a_name_that_only_code_knows():
    """Whatever alias an annotation has: `describe` and the pages tell what may be given."""
    from mergebench.catalogue import registry
    from mergebench.cli.method_card import settings_of

    kinds = {kind: name for name, card in registry.methods().items() for _, _, kind, _ in settings_of(card)}
    assert [f"{name}: {kind}" for kind, name in kinds.items() if re.search(r"\w\[|\b[A-Z]", kind)] == []


def test_describe_tells_a_suite_s_version(command):
    assert "version           v1" in command("describe", "tiny-8").out
