"""docs/formats.md: every field of a result is told, its code runs on a run's folder, heads are as it says."""

import re
from pathlib import Path

import pytest
import torch

from mergebench.measuring.results import Result
from mergebench.zoo.heads import load_head

PAGE = (Path(__file__).parents[3] / "docs/formats.md").read_text()


def test_every_field_of_a_result_is_told_once():
    table = re.search(r"<!-- fields -->(.*?)<!-- /fields -->", PAGE, re.DOTALL)[1]
    told = [name for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted({*Result.model_fields, *Result.model_computed_fields})


def test_its_code_reads_a_run_s_folder(command, mini_suite, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert command("run", "--methods", "average", "--suite", mini_suite).status == 0
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {})
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["average", "0"], ["finetuned", "0"]]
    there = {path.relative_to("runs").parts[0] for path in Path("runs").rglob("*")}
    told = {row.strip("`").split("/")[0] for row in re.findall(r"`[^`]+/[^`]*`", PAGE.partition("## A result")[0])}
    assert there <= told


@pytest.mark.parametrize("kind", ["linear", "zero-shot"])
def test_heads_are_as_it_says(kind):
    rows = PAGE.partition(f"| {kind} |")[2].partition("\n\n")[0]
    rows = rows.partition("| zero-shot |")[0] if kind == "linear" else rows
    sizes = {"classes": 3, "embed": 4, "width": 5}
    shapes = {name: [sizes[n] for n in shape.split(", ") if n] for name, shape in re.findall(
        r"`(\w+)`[^|]*\| \[([^\]]*)\] \|", rows)}  # fmt: skip
    assert len(shapes) == (2 if kind == "linear" else 3)
    state = {name: torch.ones(shape) for name, shape in shapes.items()}
    head = load_head(state, 5, 3, "a head")
    assert head(torch.ones(2, 5)).shape == (2, 3)
