"""A path that cannot be one, given by a person or by a file, is told in one line, whatever verb looks for it."""

import pytest
from guard import Guard

LONG = "a" * 300
DOORS = {
    "suite": ("run", "--methods", "average", "--suite", f"{LONG}.yaml"),
    "zoo": ("run", "--methods", "average", "--zoo", f"{LONG}.yaml"),
    "study": ("run", "--study", f"{LONG}.yaml"),
    "options": ("run", "--config", f"{LONG}.yaml"),
    "settings": ("run", "--methods", "average", "--settings", f"{LONG}.yaml"),
    "method": ("run", "--methods", f"{LONG}.py"),
    "card": ("describe", f"{LONG}.yaml"),
    "submission": ("verify", f"{LONG}.json"),
    "results": ("leaderboard", "--out", LONG),
    "table": ("table", "--out", LONG),
    "submissions": ("leaderboard", "--submissions", LONG),
    "checkpoint": ("evaluate", f"{LONG}.safetensors"),
    "base": ("merge", "--method", "average", "--base", f"{LONG}.bin", "--experts", "a=x", "b=y", "--output", "o"),
    "data": ("finetune", "--task", "t", "--base", "tiny", "--data", LONG),
    "description": ("finetune", "--task", "t", "--describe", f"{LONG}.yaml"),
    "search": ("tune", "ties", "--suite", f"{LONG}.yaml"),
}


@pytest.fixture
def guard(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Guard(command, tmp_path / "canary")


@pytest.mark.parametrize("door", DOORS)
def test_names_that_are_too_long(door, guard):
    guard.refused(*DOORS[door], names="a" * 30)


@pytest.mark.parametrize("field", ["base", "experts", "head", "data"])
def test_names_that_a_zoo_gives(field, guard, own, write):
    fields = {"title": "z", "base": "tiny", "experts": "{task}.safetensors"}
    task = {"data": "data", "head": "head.safetensors"}
    own.trained()
    if field in task:
        task[field] = f"{LONG}.safetensors"
    else:
        fields[field] = f"{LONG}{{task}}.safetensors" if field == "experts" else f"{LONG}.safetensors"
    zoo = write("zoo", tasks={"flowers": task}, **fields)
    guard.refused("run", "--methods", "average", "--suite", own.suite, "--zoo", zoo, "--dry-run", names="a" * 30)
