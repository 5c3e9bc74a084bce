"""One function makes a file's name of a name: ordinary ones stay, the others never become a path."""

import pytest

from mergebench.configuration import file_name, names_a_file
from mergebench.measuring.results import CellKey, ResultStore

ORDINARY = ["tiny-8", "my suite (2)", "alpha@tiny-8", "regmean++-s0-a1", "Käse", "नमस्ते\u200dक", "a.b", "a:b", "x" * 230]
ODD = ["/home/me/README", "../../x", "..", ".", ".hidden", "", "  ", "a/b", "a\\b", "a\0b", "a\nb", "\u202etxt.exe"]


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_are_names_of_files(name):
    assert file_name(name) == name and names_a_file(name)


@pytest.mark.parametrize("name", [*ODD, "\x1b[31m", "x\ud800", "x" * 231, "é" * 200])
def test_other_names_become_names_of_files_in_the_very_folder(tmp_path, name):
    made = file_name(name)
    assert not names_a_file(name) and file_name(made) == made
    (tmp_path / f"{made}.json").write_text("")
    (found,) = tmp_path.iterdir()
    assert found.name == f"{made}.json" and not made.startswith(".")


def test_no_two_names_become_one():
    assert len({file_name(name) for name in (*ODD, "a_b", "_")}) == len(ODD) + 2


@pytest.mark.parametrize("suite", ["/home/me/README", "../../../x", "a/b"])
def test_cells_stay_in_the_folder_of_cells(tmp_path, suite):
    facts = {name: {} for name in ("starts", "hyperparameters", "conditions", "weights", "data")}
    text = {"source": "", "zoo": "z", "variant": "", "device": "cpu", "suite": suite, "seed": 0}
    for study in ("", "../study"):
        path = ResultStore(tmp_path).path(CellKey(method="../m", study=study, **facts, **text))
        assert path.parent.parent == tmp_path / "cells" and ".." not in path.parts
