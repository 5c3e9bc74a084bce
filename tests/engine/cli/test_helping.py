"""Help: the first page, and of every verb examples that work and options in a user's words."""

import os
import re
import shlex
import sys

import pytest

from mergebench.catalogue import registry
from mergebench.cli import main
from mergebench.cli.command import make_parser, parsed
from mergebench.cli.verbs import BEGIN, VERBS


def test_nothing_shows_the_first_page_with_what_to_begin_with(command):
    done = command()
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("usage: mergebench VERB [options]\n")
    beginning = done.out.partition("to begin with:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (mergebench .*?)  ", beginning, re.MULTILINE) == [f"mergebench {line}" for line in BEGIN]
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name}  .*{re.escape(verb.purpose[:20])}", done.out, re.MULTILINE)


def test_whoever_reads_it_may_stop(monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            pass

        def fileno(self):
            return os.open(os.devnull, os.O_WRONLY)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        assert main([]) == 141


def test_help_of_the_whole_is_that_page(command):
    page = command().out
    for option in ("--help", "-h"):
        assert vars(command(option)) == {"status": 0, "out": page, "err": ""}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("columns", [80, 120])
def test_help_of_a_verb_speaks_of_no_types_and_fits(verb, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    parser = make_parser(verb).of_verb
    shown = parser.format_help()
    assert not re.search(r"type:|null|Literal|Optional|Positive|default: (None|False|\[|\{)|<class", shown)
    assert not re.search(r"\((default: [^)]*)\) \(\1\)", shown)
    first, *_ = shown.splitlines()
    assert first.startswith(f"usage: mergebench {verb} ") and first.endswith("[options]")
    options = shown.partition("\nexamples:\n")[0]
    assert max(map(len, options.splitlines())) <= columns
    assert all(action.help for action in parser._actions), "every option says what it is for"  # noqa: SLF001


@pytest.mark.parametrize(
    ("verb", "line"), [(name, line) for name, verb in VERBS.items() for line in verb.examples] + [
        (line.split()[0], line) for line in BEGIN
    ],
)  # fmt: skip
def test_every_example_is_one(verb, line):
    words = shlex.split(line)
    assert words[0] == verb
    config = parsed(verb, words)
    for method in [*(config.get("methods") or []), *filter(None, [config.get("method")])]:
        assert method.startswith("mine.py") or registry.select_methods([method])
    for field, kind in {"suite": "suites", "study": "studies", "zoo": "zoos"}.items():
        for name in [config.get(field)] if isinstance(config.get(field), str) else config.get(field) or []:
            assert name in registry.config_files(kind)


def test_examples_are_at_the_end_of_help_line_by_line(command):
    shown = command("run", "--help").out.partition("\nexamples:\n")[2]
    assert shown.splitlines() == [f"  mergebench {line}" for line in VERBS["run"].examples]
