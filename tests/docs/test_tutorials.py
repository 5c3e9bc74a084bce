"""The tutorials on ranking and on tables, line by line, on fewer tasks and images than they name."""

import re
import shlex

import pytest
import yaml
from docs_texts import TEXTS

from mergebench.cli import main
from mergebench.measuring.results import ResultStore

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("few_images")]

TWO = {"merge": ["landcover", "digits"]}
SMALL = {
    "tiny-8": {"merge": ["scenes", "signs", "textures"]},  # whose columns a page names
    "tiny-20": {"merge": ["landcover", "digits", "signs"]},
    "unseen": {"merge": ["landcover", "digits", "signs"], "held_out": [["digits"]]},
    "corruptions": TWO | {"corruptions": {"kinds": ["contrast"], "severities": [1, 5]}},
    "scale": {"merge": ["landcover", "digits", "signs", "textures"], "prefixes": [2, 4]},
}
PAGES = ("docs/tutorials/rank.md", "docs/tutorials/paper-table.md")


def lines(page):
    """The page's commands, in words, but for those that need a hub."""
    found = [line for block in re.findall(r"```sh\n(.*?)```", TEXTS[page], re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in found if "clip-" not in line]


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_a_tutorial_goes_well(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, fields in SMALL.items():
        (tmp_path / f"small-{name}.yaml").write_text(yaml.safe_dump({"title": name, "zoo": "tiny"} | fields))
    said = {}
    for words in lines(page):
        # A run is told the file, a table the name that results then have.
        files = [f"small-{w}{'.yaml' * (words[0] == 'run')}" if w in SMALL else w for w in words]
        files += ["--dry-run"] * ("--study" in words)  # cells by the dozen
        assert main(files) == 0, words
        said.setdefault(words[0], []).append(capsys.readouterr().out)
    assert {"run"} < said.keys() and all(map(str.strip, sum(said.values(), [])))
    assert {result.title for result in ResultStore("runs").all()} >= {"Simple Averaging", "RegMean", "RegMean++"}
    for table in said.get("table", []):
        assert "RegMean++" in table and "**" in table
