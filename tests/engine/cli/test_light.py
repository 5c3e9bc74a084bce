"""Help and lists answer without the heavy libraries."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "timm", "torchvision", "open_clip", "optuna")


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
    ],
)
def test_nothing_heavy_is_imported(arguments):
    code = f"""
import sys
from mergebench.cli import main
try:
    status = main({arguments!r})
except SystemExit as leave:
    status = leave.code
assert status in (0, None), status
loaded = [m for m in {HEAVY!r} if m in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
        "factor on the off-diagonal entries",
    ):
        assert part in out
