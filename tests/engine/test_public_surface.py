"""What outside code may rely on, as docs/design.md lists it: each is imported or used by the name that it promises."""

import importlib
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mergebench
from mergebench.catalogue import registry
from mergebench.measuring.results import SCHEMA_VERSION, Result
from mergebench.weights.encoders import Encoder
from mergebench.zoo.zoo import Zoo

ROOT = Path(mergebench.__file__).parents[1]
PROMISED = re.search(
    r"## What outside code may rely on\n.*?(?=\n## )", (ROOT / "docs/design.md").read_text(), re.DOTALL
)[0]


def test_the_names_of_the_package_are_those_that_the_design_lists():
    first = re.search(r"\*\*From `mergebench`\*\*: (.*?)\n- ", PROMISED, re.DOTALL)[1]
    assert sorted(re.findall(r"`(\w+)`", first)) == sorted(mergebench.__all__)
    for name in mergebench.__all__:
        assert getattr(mergebench, name).__name__ in (name, "dict")  # StateDict is a dict's alias
    with pytest.raises(AttributeError, match="module 'mergebench' has no attribute 'nothing'"):
        mergebench.nothing  # noqa: B018


def test_the_package_lists_them_and_says_that_it_is_typed():
    assert set(mergebench.__all__) <= set(dir(mergebench))
    assert (Path(mergebench.__file__).parent / "py.typed").exists()


def test_importing_the_package_imports_nothing_else():
    code = "import sys, mergebench; print([m for m in sys.modules if m.startswith('mergebench.') or m == 'torch'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("group", ["methods", "tasks", "corruptions", "configs"])
def test_the_doors_are_open_to_packages(group):
    assert f".{group}`" in PROMISED
    assert any(entry.load() for entry in entry_points(group=f"mergebench.{group}"))


@pytest.mark.parametrize("name", ["adaptation", "features", "sparsify", "spectral", "ties", "regmean", "average"])
def test_what_methods_share_is_where_it_was(name):
    assert importlib.import_module(f"mergebench.methods.{name}")


@pytest.mark.long
@pytest.mark.parametrize(
    "module",
    ["mergebench", "mergebench.tasks.tiny.build", "mergebench.tasks.tiny.sheet", "mergebench.tasks.corruptions.sheet"],
)
def test_modules_that_are_commands(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "usage:" in done.stdout


def test_names_that_files_hold_mean_what_they_meant():
    for name in re.findall(r"`(mergebench\.tasks[\w.]*:\w+)`", PROMISED):
        assert name in (ROOT / "configs/zoos/tiny.yaml").read_text()
    assert Encoder("mergebench.tasks.tiny.model:create_encoder").make().num_features == 160
    assert Zoo("tiny").base  # whose folder is `mergebench.tasks.tiny:weights`


def test_packages_bring_tasks_and_corruptions_with_what_the_package_exports():
    for task in registry.tasks().values():
        assert isinstance(task, mergebench.Task) and isinstance(task.card, mergebench.TaskCard)
    assert all(isinstance(corruption, mergebench.Corruption) for corruption in registry.corruptions().values())


# A result as it was stored before there were hashes of what code does; a field more or less would not be its schema.
STORED = """{
 "schema_version": 1, "status": "ok", "error": null, "method": "average", "title": "Simple Averaging", "paper": "",
 "role": "method", "family": "data-free", "needs": [], "source": "0123456789abcdef",
 "hyperparameters": {"weights": null}, "suite": "tiny-8", "study": "", "zoo": "tiny", "variant": "", "point": {},
 "position": 0, "varied": [], "conditions": {}, "merged": ["digits"], "steps": 0, "seed": 0,
 "tasks": {"digits": {"correct": 884, "total": 1000, "expert_correct": 970, "predictions": "0123456789abcdef"}},
 "validation": {}, "tuned": {}, "weights": {"base": "x"}, "data": {"digits/test": "y"}, "origins": {}, "drawn": {},
 "drawn_images": {}, "merge": {"seconds": 0.1, "peak_bytes": 1}, "evaluation": {"seconds": 4.0, "peak_bytes": null},
 "environment": {"device": "cpu", "precision": "float32", "threads": 2, "platform": "p", "packages": {"torch": "2"},
 "git_commit": ""}, "started": "2026-01-01T00:00:00+00:00", "asked": "2026-01-01T00:00:00.000+00:00",
 "diagnostics": {}, "average": 0.884, "average_relative": 0.9113
}"""


def test_results_that_are_stored_are_read():
    result = Result.model_validate_json(STORED)
    assert result.schema_version == SCHEMA_VERSION == 1
    assert result.average == 0.884 and result.engine == ""
