"""The tutorial, word for word: three folders of images become experts, a merged model and a leaderboard."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mergebench.cli import main
from mergebench.measuring.results import ResultStore
from mergebench.zoo.zoo import Zoo

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/own-models.md").read_text()
TUTORIAL = re.search(r"<!-- tutorial -->(.*?)<!-- /tutorial -->", PAGE, re.DOTALL)[1]


def run(line: str) -> int:
    """One line of the page's; the script is the checkout's."""
    program, *words = shlex.split(line, comments=True)
    if program == "python":
        return subprocess.run([sys.executable, ROOT / words[0], *words[1:]]).returncode
    return main(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tutorial was gone through."""
    place = tmp_path_factory.mktemp("tutorial")
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", TUTORIAL, re.DOTALL):
        (place / name).write_text(text)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL) for line in block.splitlines()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        statuses = {line: run(line) for line in lines}
    assert statuses == dict.fromkeys(lines, 0)
    return place


def test_every_expert_is_better_than_chance_and_differs_from_the_base(folder):
    for task in ("shapes", "stripes", "counts"):
        recipe = json.loads(Zoo(str(folder / "mine.yaml")).expert(task).metadata["recipe"])
        assert recipe["tasks"] == [task] and len(recipe["classes"]) == 3
    ceiling = next(r for r in ResultStore(folder / "runs").all() if r.method == "finetuned")
    assert all(score.accuracy > 0.6 and score.total == 180 for score in ceiling.tasks.values())


def test_the_leaderboard_has_every_method(folder):
    page = (folder / "runs" / "site" / "index.html").read_text()
    assert all(title in page for title in ("Simple Averaging", "TIES-Merging", "TSV-M", "RegMean", "RegMean++"))


def test_the_merged_file_is_what_was_measured(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["evaluate", "merged.safetensors", "--suite", "three.yaml", "--json", "counts.json"]) == 0
    counts = json.loads((folder / "counts.json").read_text())["tasks"]
    measured = next(r for r in ResultStore(folder / "runs").all() if r.method == "regmean++")
    assert {t: c["correct"] for t, c in counts.items()} == {t: s.correct for t, s in measured.tasks.items()}


def test_the_files_merge_in_one_line(folder, monkeypatch):
    line = next(x for x in PAGE.splitlines() if x.startswith("mergebench merge") and "--calibration" in x)
    monkeypatch.chdir(folder)
    (folder / "merged.safetensors").unlink()
    assert run(line) == 0
    Zoo("tiny").make_empty_encoder().load_state_dict(load_file(folder / "merged.safetensors"), strict=True)
