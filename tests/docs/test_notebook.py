"""The notebook runs from top to bottom, and shows what its words say."""

import os
import re
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="the notebook needs nbclient and ipykernel: pip install -e '.[dev]'")
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.long

NOTEBOOK = Path(__file__).parents[2] / "docs/tutorials/first-merge.ipynb"


def said(cell):
    """All that a cell printed and showed."""
    return "".join(o.get("text", "") + str(o.get("data", {}).get("text/plain", "")) for o in cell.get("outputs", []))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook's cells after they ran in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not stored: they are made"
    with pytest.MonkeyPatch.context() as patch:
        # As it is where the environment is activated.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        folder = tmp_path_factory.mktemp("notebook")
        nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook.cells, folder


def test_it_ranks_merges_and_checks(executed):
    cells, folder = executed
    text = "\n".join(said(cell) for cell in cells)
    assert "error" not in text.lower()
    assert all(word in text for word in ("RegMean++", "TSV-M", "Fine-tuned experts", "median conforms"))
    assert (folder / "merged.safetensors").is_file() and (folder / "notebook-runs/site/index.html").is_file()


def test_the_recipe_and_the_picture_are_shown(executed):
    cells, _ = executed
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert any("regmean++" in str(output.get("data", {}).get("text/plain", "")) for output in shown)


def test_it_evaluates_what_the_run_measured(executed):
    """The merged file's average is that of the run's row."""
    cells, _ = executed
    table = next(said(cell) for cell in cells if "sort_values" in cell.source)
    average = re.search(r"^RegMean\+\+ .* ([\d.]+)\s*$", table, re.MULTILINE)[1]
    evaluated = next(said(cell) for cell in cells if "mergebench evaluate" in cell.source)
    assert re.search(r"^average +([\d.]+) %", evaluated, re.MULTILINE)[1] == average
