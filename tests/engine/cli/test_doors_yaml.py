"""No YAML file runs code, or takes memory and time without end: each is refused in one line that names it."""

import os
from pathlib import Path

import hostile_yaml
import pytest
from guard import Guard

KINDS = list(hostile_yaml.kinds(Path("canary")))
DOORS = {
    "suite": ("run", "--methods", "average", "--dry-run", "--suite"),
    "study": ("run", "--dry-run", "--study"),
    "zoo": ("run", "--methods", "average", "--dry-run", "--suite", "tiny-8", "--zoo"),
    "settings": ("run", "--methods", "average", "--dry-run", "--suite", "tiny-8", "--settings"),
    "options": ("run", "--dry-run", "--config"),
    "description": ("finetune", "--task", "t", "--base", "tiny", "--describe"),
    "card": ("describe",),
    "zoo of a merge": ("merge", "--method", "average", "--output", "out.safetensors", "--zoo"),
    "suite of a search": ("tune", "ties", "--suite"),
    "zoo of an inspection": ("inspect", "--zoo"),
    "suite of an evaluation": ("evaluate", "no.safetensors", "--suite"),
}
SOME = ["a call", "aliases", "deep", "no number", "a terminal's escape", "a text without end"]


@pytest.fixture
def guard(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Guard(command, tmp_path / "canary")


@pytest.fixture
def hostile(tmp_path):
    """Writes a file of a kind."""

    def write(kind, name="hostile.yaml"):
        (tmp_path / name).write_bytes(hostile_yaml.kinds(tmp_path / "canary")[kind])
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind, guard, hostile):
    """As a suite, which most doors read YAML like; of a zoo that it names and nobody knows, that name is told."""
    file = hostile(kind)
    guard.refused(*DOORS["suite"], file, names="unknown zoo" if kind == "a class that acts" else file.stem)


@pytest.mark.long
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", SOME)
def test_doors(door, kind, guard, hostile):
    file = hostile(kind)
    no_option = door == "options" and kind == "a terminal's escape"  # the field is told, as if it had been typed
    guard.refused(*DOORS[door], file, names="unknown option" if no_option else file.stem)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_plain_file_is_not_waited_for(door, guard, tmp_path):
    os.mkfifo(tmp_path / "hostile.yaml")
    guard.refused(*DOORS[door], tmp_path / "hostile.yaml", names="hostile")
