"""What the parser complains of, in a user's words: the option, what it takes, what it got."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mergebench.errors import LONGEST, nearest, on_one_line, overheard
from mergebench.merging.type_words import KINDS

LACKING = "required, but not given"


def complain(message: object) -> None:
    """Tell what is wrong, in one line on the error output."""
    print(f"mergebench: error: {on_one_line(message, LONGEST)}", file=sys.stderr, flush=True)


@contextmanager
def notes_shown() -> Iterator[None]:
    """While a verb runs, what `errors.tell` is told is a line of the error output, each sentence once."""
    told: set[str] = set()

    def show(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            print(f"mergebench: note: {on_one_line(sentence, LONGEST)}", file=sys.stderr, flush=True)

    with overheard(show, alone=True):
        yield


def in_plain_words(message: str, options: Sequence[str]) -> str:
    """One line for a parser's message.

    Args:
        message: as the parser gives it, possibly of several lines and in terms of Python's types.
        options: the options there are, as `--seeds`.
    """
    key = re.search(r'Parser key "([\w.]+)"', message)
    if key:
        asked = f"--{key[1].rpartition('.')[2].replace('_', '-')}"
        name = asked if asked in options else asked.removeprefix("--")
        return f"{name}: {_of_value(message)}"
    required = re.fullmatch(r"the following arguments are required: (.+)", message)
    if required:
        return f"{', '.join(_as_typed(item, options) for item in required[1].split(', '))}: {LACKING}"
    unknown = re.match(r"unrecognized arguments: (-\S+)|.*does not accept option '([\w.]+)'", message)
    if unknown:
        name = unknown[1] or f"--{unknown[2].replace('_', '-')}"
        return f"unknown option {name!r}; {nearest(name.partition('=')[0], list(options))}"
    loose = re.match(r"unrecognized arguments: (.+)", message)
    if loose:
        return f"unexpected {loose[1]!r}; " + (
            "methods are named by --methods" if "--methods" in options else "see --help"
        )
    return message.splitlines()[0].removeprefix("argument ")


def _of_value(message: str) -> str:
    """What is wrong with an option's value."""
    kind = re.search(r"Not of type (\w+): (?:(\S+) does not conform|.*: '(.*)')?", message)
    if kind and kind[1] in KINDS:
        given = re.search(r"Given value: (.*)", message)
        value = given[1] if given else kind[2] or kind[3]
        return f"expected {KINDS[kind[1]]}, not {value}"
    choice = re.search(r"Literal\[([^\]]*)\][\s\S]*(?:Got|Given) value: (.*)", message)
    if choice:
        known = re.findall(r"'([^']*)'", choice[1])
        return f"cannot be {choice[2]!r}; {nearest(choice[2], known)}"
    reason = re.sub(r'Parser key "[\w.]+"(?: element \d+)?:?\s*', "", message).splitlines()[0]
    return re.sub(r"<class '(\w+)'>", r"\1", reason.replace("typing.", ""))


def _as_typed(item: str, options: Sequence[str]) -> str:
    """`merge.method` as the user types it: `--method`, or the name alone where it takes no dashes."""
    name = item.rpartition(".")[2]
    return f"--{name}" if f"--{name}" in options else name
