"""What README, CONTRIBUTING and docs show can be typed, run and followed."""

import re

import pytest
from docs_texts import ROOT, TEXTS, blocks, commands

from mergebench.catalogue import registry
from mergebench.cli.command import VERBS, make_parser


@pytest.mark.parametrize("block", blocks("python"))
def test_python_examples_run(block):
    exec(compile(block, "README", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_understood(words):
    verb, *rest = words[1:]
    assert make_parser(verb).parse_args([verb, *rest])


def test_what_commands_name_is_registered():
    """Names among the values of an option; wildcards, files and names that a page makes up are its own."""
    known = {
        "--methods": {*registry.methods(), "all", "references", "data-free", "calibration", "test-time"},
        "--suite": set(registry.config_files("suites")),
        "--study": set(registry.config_files("studies")),
        "--zoo": set(registry.config_files("zoos")),
    }
    for words in commands():
        option = ""
        for word in words:
            option = word if word.startswith("--") else option
            if option in known and not word.startswith("--") and not re.search(r"[*./:]", word):
                assert word in known[option], " ".join(words)


def test_every_verb_is_shown():
    assert {words[1] for words in commands()} == set(VERBS)


def test_make_targets_exist():
    targets = [t for text in TEXTS.values() for t in re.findall(r"^make (\w+)", text, re.MULTILINE)]
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets)


def test_links_lead_to_files():
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)#\s]+)\)", text):
            if "://" not in target:
                assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_readme_fits_a_screen_and_a_half():
    assert len(TEXTS["README.md"].splitlines()) <= 75
