"""`merge --card`: what made the weights, in words, beside them; and a command that makes them again."""

import hashlib
import re
import shlex

import pytest
import yaml

from mergebench.weights.states import SafetensorsState, digest


def test_a_card_beside_a_file_gives_the_same_weights_again(command, mini_suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["--set", "density=0.25", "scaling=0.00001"]
    done = command("merge", "--method", "ties", "--suite", mini_suite, "--output", "a.safetensors", "--card", *settings)
    assert done.status == 0, done
    text = (tmp_path / "a.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "timm" and "mergebench" in front["tags"]
    assert "# TIES-Merging of 2 experts: landcover, digits" in text and "arXiv:2306.01708" in text
    assert "| `density` | 0.25 |" in text
    assert hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest() in text
    before = digest(SafetensorsState(tmp_path / "a.safetensors"))
    (tmp_path / "a.safetensors").unlink()
    (line,) = re.findall(r"^    (mergebench merge .*)$", text, re.MULTILINE)
    assert command(*shlex.split(line)[1:]).status == 0
    assert digest(SafetensorsState(tmp_path / "a.safetensors")) == before


def test_a_folders_card_is_its_readme_and_no_other_text_is_overwritten(command, refused, mini_suite, tmp_path):
    arguments = ["merge", "--method", "average", "--suite", mini_suite, "--output", tmp_path / "model", "--card"]
    assert command(*arguments).status == 0
    assert "Simple Averaging" in (tmp_path / "model/README.md").read_text()
    assert command(*arguments).status == 0  # its own card is
    (tmp_path / "model/README.md").write_text("mine\n")
    assert "README.md is there already and is no card of a merge" in refused(*arguments)
    assert (tmp_path / "model/README.md").read_text() == "mine\n"


@pytest.mark.parametrize("title", ["a|b", "<script>", "[x](javascript:1)"])
def test_a_title_is_text_in_the_card(command, mini_suite, tmp_path, title):
    file = tmp_path / "mine.py"
    file.write_text(
        "from mergebench import Needs, merge_method\n\n\n"
        f'@merge_method("mine", title={title!r}, needs=Needs(base=True))\n'
        "def mine(pool):\n    return pool.map_tensors(lambda base, experts: base)\n"
    )
    done = command("merge", "--method", f"{file}:mine", "--suite", mini_suite, "--output", tmp_path / "m.safetensors",
                   "--card")  # fmt: skip
    assert done.status == 0, done
    text = (tmp_path / "m.md").read_text()
    assert "<script>" not in text and "](javascript" not in text
