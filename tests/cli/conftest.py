"""A miniature suite of two real tasks on the tiny zoo, and the command line as a function."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from mergebench import registry
from mergebench.cli import main

QUICK = {"samples": 8, "steps": 2, "shift_steps": 2}
MINI = {
    "title": "two tasks, few samples",
    "zoo": "tiny",
    "merge": ["landcover", "digits"],
    "hyperparameters": {
        name: {n: v for n, v in QUICK.items() if n in card.hyperparameters} for name, card in registry.methods().items()
    }
    | {"fisher": {"samples": 2}},
}
# The zoo has no model trained on these two tasks together.
IN_MINI = set(registry.methods()) - {"multitask"}


@pytest.fixture(scope="session")
def mini_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's YAML file."""
    path = tmp_path_factory.mktemp("suites") / "mini.yaml"
    path.write_text(yaml.safe_dump(MINI))
    return path


@pytest.fixture(scope="session")
def mini_run(mini_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one whole run of all methods."""
    out = tmp_path_factory.mktemp("run")
    assert main(["run", "--methods", "all", "--suite", str(mini_suite), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def in_mini() -> set[str]:
    """The names of all methods that the miniature suite runs."""
    return IN_MINI


@pytest.fixture
def command(capfd: pytest.CaptureFixture):
    """Run a command line; gives its status, output and error output."""

    def run(*arguments: object) -> SimpleNamespace:
        capfd.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as leave:
            status = leave.code
        out, err = capfd.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return run


@pytest.fixture
def refused(command):
    """Run a command line that is wrong: one line on the error output, status 2; gives the line."""

    def run(*arguments: object) -> str:
        done = command(*arguments)
        assert done.status == 2, done
        lines = done.err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("mergebench: error: "), done.err
        return lines[0]

    return run
