"""Files for people who come to the project: a citation, a container, templates; what they name is there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from mergebench.cli.command import parsed
from mergebench.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
PULL = ROOT / ".github/PULL_REQUEST_TEMPLATE.md"


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation.keys() >= {"cff-version", "message", "title", "authors", "version", "license"}
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"] == [{"name": "the mergebench developers"}]
    assert "Copyright (c) 2026 the mergebench developers" in (ROOT / "LICENSE").read_text()


def test_the_container_runs_the_main_job_of_this_python():
    text = (ROOT / "Dockerfile").read_text()
    steps = dict(re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE))
    program, job = json.loads(steps["ENTRYPOINT"]), json.loads(steps["CMD"])
    assert program == ["mergebench"] and parsed(job[0], job).methods == ["all"]
    assert parsed(job[0], job).out == steps["VOLUME"]
    python = re.search(r"python:(\d+\.\d+)", steps["FROM"])[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={python}"
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "runs"} <= set(ignored)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_an_issue_s_template_is_a_form(path):
    form = yaml.safe_load(path.read_text())
    assert form.keys() >= {"name", "description", "body"}
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_what_templates_name_is_there():
    assert [path.stem for path in TEMPLATES] == ["bug", "method"]
    texts = [path.read_text() for path in (PULL, *TEMPLATES, ROOT / "Dockerfile")]
    for text in texts:
        for command in re.findall(r"`mergebench ([^`]+)`", text):
            words = shlex.split(command)
            assert words[0] in VERBS
            if len(words) > 1 or words[0] == "doctor":
                parsed(words[0], words)
        for name in re.findall(r"(?:leaderboard|docs|tests|methods)/[\w./-]*|[A-Z]+\.md", text):
            assert (ROOT / name).exists() or "my_method" in name, name


@pytest.mark.parametrize("words, long", [("test", True), ("check", False), ("check test", True), ("test check", True)])
def test_only_a_check_alone_leaves_out_the_long_tests(words, long):
    done = subprocess.run(["make", "-n", *words.split()], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if "-m pytest" in line]
    assert ('-m "not long"' not in line) == long and ("--cov" in line) == ("check" in words)


def test_imports_are_ordered_alike_beside_what_a_run_leaves(tmp_path):
    pytest.importorskip("ruff")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "module.py").write_text("import pytest\nimport runs\n\nimport mergebench\n")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "I", "module.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
