"""Errors that name the thing, the value and the remedy; the CLI prints them as one line and ends with status 2."""

import difflib
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

LONGEST = 4000  # characters of an error that are shown
# Characters that are not seen, but may act on what shows them: of control (a terminal's colours and titles), of the
# direction of writing, parts of characters, ends of lines. The joiners spell words and pictures of many scripts.
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"


class MergebenchError(Exception):
    """Any mistake in what was asked for; everything done so far is kept."""


class UnknownNameError(MergebenchError):
    """A name that no registry holds.

    Args:
        kind: what was looked for ("method", "suite", ...).
        name: what was asked for.
        known: the names there are; the nearest are shown.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(set(known))
        super().__init__(f"unknown {kind} {name!r}; {nearest(name, known)}")


class HyperparameterError(MergebenchError):
    """A hyper-parameter that the method does not have, or a value it cannot take."""


class CheckpointError(MergebenchError):
    """A checkpoint that cannot be merged: broken, of another model, or not finite."""


class NeedsError(MergebenchError):
    """A method reads what it did not declare, or was not given what it declared."""


class MethodError(MergebenchError):
    """A method's result breaks the contract (names, shapes, dtypes, finite values)."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): it goes all the ways that an interrupt goes, Lightning's too."""


def is_unseen(character: str) -> bool:
    """Whether a character is one that is not seen and may act on what shows it."""
    return unicodedata.category(character) in UNSEEN and character not in JOINERS


def on_one_line(text: object, longest: int | None = None) -> str:
    r"""A text, whoever's it is, as one line that a terminal may show: what is printable stays as it is.

    Args:
        text: whatever names, titles, settings and errors hold. Line breaks and tabs, with the blanks about them, become
            a blank; other characters that are not seen are spelt (`\x1b`).
        longest: characters that are shown of it.
    """
    whole = str(text)
    cut = whole[:longest]
    if not cut.isprintable():
        cut = re.sub(r" *[\t\n\v\f\r\x85\u2028\u2029][\s\x85]*", " ", cut)
        cut = "".join(ascii(c)[1:-1] if is_unseen(c) else c for c in cut)
    return cut if len(whole) == len(whole[:longest]) else f"{cut}... ({len(whole):,} characters)"


def counted(number: int, noun: str) -> str:
    """So many of something, as a sentence has it: "1 cell", "1,200 cells"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def retold(error: MergebenchError, text: str) -> MergebenchError:
    """The same kind of error with another text."""
    told = type(error).__new__(type(error))
    told.args = (text,)
    return told


def tell(sentence: str) -> None:
    """Say what was decided for somebody, or what looks wrong, and go on: in this project's log, at level WARNING.

    The command line shows it on the error output; so does Python, in a script that sets no log up.
    """
    logging.getLogger("mergebench").warning("%s", sentence)


class _Listener(logging.Handler):
    def __init__(self, hear: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record.getMessage())


@contextmanager
def overheard(hear: Callable[[str], object], alone: bool = False) -> Iterator[None]:
    """While the block runs, `hear` is called with whatever is told (`tell`).

    Args:
        hear: takes a sentence.
        alone: whether nobody else who listens further up hears it then.
    """
    log = logging.getLogger("mergebench")
    handler, propagate = _Listener(hear), log.propagate
    log.addHandler(handler)
    log.propagate = propagate and not alone
    try:
        yield
    finally:
        log.propagate = propagate
        log.removeHandler(handler)


def in_words(error: BaseException) -> str:
    """Why something failed: our own errors say it by themselves, others' names say half of it.

    Of other people's errors even the text may fail, or be none that can be written.
    """
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as worse:  # noqa: BLE001
        text = f"(its text cannot be told: {type(worse).__name__})"
    return writable(text if isinstance(error, MergebenchError) else f"{type(error).__name__}: {text}")


def writable(text: str) -> str:
    r"""A text that every file can hold: a lone surrogate stands as \udc80 in it."""
    return text.encode("utf-8", "backslashreplace").decode()


def unprefixed(message: str) -> str:
    """What a validator of ours says, without the prefix that pydantic puts before it."""
    return message.removeprefix("Value error, ")


def nearest(name: str, known: list[str]) -> str:
    """A sentence with the names nearest to `name`, or all of them if none is near."""
    lowered = {k.lower(): k for k in known}
    close = [lowered[k] for k in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    # A word that stands inside longer names ("adamerging" in "task_wise_adamerging") is near, whatever the ratio says.
    close += [k for k in known if len(name) >= 3 and name.lower() in k.lower() and k not in close]
    if close:
        return "did you mean " + " or ".join(repr(k) for k in close[:3]) + "?"
    return "there are: " + ", ".join(known) if known else "there are none"
