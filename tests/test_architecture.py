"""The arrows between the parts, as pyproject.toml states them, and the rooms of the engine, as docs/design.md does."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from lay_out import lay_out

from mergebench.catalogue.syntax import only_defines, says_nothing

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "mergebench"
ROOMS = sorted(path.parent.name for path in ENGINE.glob("*/__init__.py"))
DESIGN = (ROOT / "docs/design.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_imports_follow_the_declared_arrows(tmp_path):
    """import-linter reads packages where they lie, so they are laid out here as an installation lays them out."""
    lay_out(tmp_path)
    command = [
        str(Path(sys.executable).parent / "lint-imports"),
        "--config",
        str(ROOT / "pyproject.toml"),
        "--no-cache",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 4 kept, 0 broken." in done.stdout


def test_the_layers_name_rooms_and_no_module_inside_one():
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name for layer in layers for name in re.split(r"[ |:]+", layer)}
    parts = {"leaderboard", "methods", "tasks", "configs"}
    modules = {path.stem for path in ENGINE.glob("*.py")} - {"__init__"}
    assert named == {*ROOMS, *parts, *modules}


def test_the_engine_has_at_most_thirteen_rooms_and_seven_modules_beside_them():
    assert len(ROOMS) <= 13
    assert len(list(ENGINE.glob("*.py"))) <= 7
    assert sorted(p.name for p in ENGINE.iterdir() if p.is_dir() and p.name != "__pycache__") == ROOMS


def test_every_package_is_installed():
    listed = PROJECT["tool"]["setuptools"]
    lying = [
        ".".join([name, *file.parent.relative_to(ROOT / folder).parts])
        for name, folder in listed["package-dir"].items()
        for file in (ROOT / folder).rglob("__init__.py")
    ]
    assert sorted(lying) == sorted(listed["packages"])


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_lives_in_it_and_imports_nothing_heavy(room):
    tree = ast.parse((ENGINE / room / "__init__.py").read_text())
    said = ast.get_docstring(tree)
    assert said and len(said.splitlines()) <= 5
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    # The command line's face is the entry point.
    assert [ast.unparse(node) for node in imported] == ["from mergebench.cli.command import main"] * (room == "cli")


def test_the_design_tells_of_every_room_in_its_table_and_its_picture():
    table = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", DESIGN, re.MULTILINE)
    assert sorted(table) == ROOMS
    drawn = re.findall(r'<text class="t"[^>]*>([^<]*)</text>', (ROOT / "docs/rooms.svg").read_text())
    named = {word.strip("/") for text in drawn[1:] for word in text.split(", ")}
    modules = {path.name for path in ENGINE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == {*ROOMS, *modules, "leaderboard", "methods", "tasks"}


def test_every_file_that_the_documents_name_is_there():
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.(?:py|yaml|md))`", DESIGN + (ROOT / "CONTRIBUTING.md").read_text())
    places = [ROOT, ENGINE]
    assert len(named) > 20
    assert [file for file in named if not any((place / file).is_file() for place in places)] == []


def test_our_modules_only_define_when_they_are_imported():
    """A cell's source is followed from definition to definition: what a module did beside them might be overlooked."""
    for folder in ("mergebench", "methods", "tasks", "leaderboard"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            loose = [
                s for s in tree.body if not (says_nothing(s) or only_defines(s) or _is_main(s) or _may_be_lacking(s))
            ]
            assert [ast.unparse(s) for s in loose if path.name != "__main__.py"] == [], path
            for node in ast.walk(tree):
                assert not isinstance(node, ast.Global), path
                assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), path


def _is_main(statement):
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def _may_be_lacking(statement):
    """An import, and what stands in its place where there is no such module."""
    if not isinstance(statement, ast.Try):
        return False
    others = [s for handler in statement.handlers for s in handler.body]
    return all(map(says_nothing, statement.body)) and all(map(only_defines, others))


def test_tests_mirror_the_folders():
    mirrored = {"engine": ENGINE} | {
        name: ROOT / name for name in ("benchmarks", "configs", "docs", "leaderboard", "methods", "tasks")
    }
    for path in (ROOT / "tests").glob("*/**/test_*.py"):
        top, *inner = path.relative_to(ROOT / "tests").parts[:-1]
        assert mirrored[top].joinpath(*inner).is_dir(), path


def test_no_python_file_passes_400_lines():
    lengths = {
        str(p.relative_to(ROOT)): len(p.read_text().splitlines())
        for folder in ("mergebench", "methods", "tasks", "leaderboard", "tests", "benchmarks")
        for p in (ROOT / folder).rglob("*.py")
    }
    assert {p: n for p, n in lengths.items() if n > 400} == {}
