"""Errors that name the thing, the value and the remedy; the CLI prints them as one line and ends with status 2."""

import difflib
import logging
from collections.abc import Iterable


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


def in_words(error: Exception) -> str:
    """Why something failed: our own errors say it by themselves, others' names say half of it."""
    return str(error) if isinstance(error, MergebenchError) else f"{type(error).__name__}: {error}"


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
