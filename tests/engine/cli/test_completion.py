"""What a shell is told when the tab key is pressed: verbs, options, choices, and names that are registered."""

import os
import subprocess
import sys

import pytest

from mergebench.catalogue import registry
from mergebench.cli.verbs import VERBS


def completed(line, folder, point=None):
    """The words that may follow a line, as argcomplete's shell code asks for them."""
    told = folder / "told"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(told),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line) if point is None else point),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mergebench"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return set(told.read_text().split("\n")) - {""}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mergebench ru", {"run", "runs"}),
        ("mergebench run --meth", {"--methods"}),
        ("mergebench run --methods regm", {"regmean", "regmean++"}),
        ("mergebench run --methods ties,average regm", {"regmean", "regmean++"}),
        ("mergebench run --methods average ties cal", {"calibration"}),
        ("mergebench run --suite tiny-1", {"tiny-14"}),
        ("mergebench run --study cla", {"class-imbalance"}),
        ("mergebench fetch --zoo knots-vit-l", {"knots-vit-l-14"}),
        ("mergebench finetune --task house", {"house-numbers"}),
        ("mergebench describe sam", {"samples"}),
        ("mergebench describe jp", {"jpeg-compression"}),
        ("mergebench table --format ", {"latex", "markdown", "csv", "typst"}),
        ("mergebench table --layout se", {"sequential"}),
        ("mergebench run --methods './mi", {"./mine.py"}),
        ("mergebench nothing --me", set()),
    ],
)
def test_words_that_may_follow(line, words, tmp_path):
    (tmp_path / "mine.py").write_text("")
    assert {word.strip() for word in completed(line, tmp_path)} == words


def test_every_verb_and_every_method_is_told(tmp_path):
    assert completed("mergebench ", tmp_path) >= set(VERBS)
    assert completed("mergebench merge --method ", tmp_path) >= set(registry.methods())


def test_what_stands_behind_the_cursor_does_not_count(tmp_path):
    assert completed("mergebench run --methods regm --suite x", tmp_path, point=29) == {"regmean", "regmean++"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_verb_is_told(verb, tmp_path):
    from mergebench.cli.command import make_parser

    known = {name for action in make_parser(verb).of_verb._actions for name in action.option_strings}
    assert {n for n in known if n.startswith("--")} <= completed(f"mergebench {verb} --", tmp_path) | {"--help"}
