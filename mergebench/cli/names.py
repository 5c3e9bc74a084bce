"""Names as people type them: several with commas between, in any case, and as papers print them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.spellings import Spellings

# Arguments of several names, in which a comma separates; in others it may belong to a value, a class or a sentence.
SEVERAL = ("methods", "seeds", "suite", "study", "zoo", "task", "tasks", "rows", "columns", "keep")
# Arguments that name what is registered -> of which kind.
REGISTERED = {"suite": "suites", "study": "studies", "zoo": "zoos"}
METHODS = ("method", "methods", "set")
# Verbs whose names are those of stored results, of other people's methods and suites too: what is meant is looked for
# among these, if at all.
STORED = ("leaderboard", "table", "compare", "runs")


def spread(arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """A verb's words with `a,b` as two of them, where several names may stand.

    Args:
        arguments: as typed, the verb before them.
        parser: the verb's, which tells what takes several.
    """
    actions = [action for action in parser._actions if action.dest in SEVERAL and action.nargs == "+"]  # noqa: SLF001
    named = {name for action in actions for name in action.option_strings}
    positional = any(not action.option_strings for action in actions)
    # A flag, or an option of one value, ends with that; what comes behind it is positional again.
    takes = {name: _count(action) for action in parser._actions for name in action.option_strings}  # noqa: SLF001
    words = list(arguments[:1])
    option, left = "", 0.0
    for word in arguments[1:]:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            left = 0 if equals else takes.get(option, 0)
            words += [option, *_parts(value)] if equals and option in named else [word]
            continue
        if option and left <= 0:
            option = ""
        left -= 1
        words += _parts(word) if (option in named if option else positional) else [word]
    return words


def _count(action: Any) -> float:
    """How many words an option takes at most."""
    if action.nargs in ("+", "*"):
        return float("inf")
    return action.nargs if isinstance(action.nargs, int) else 1


def _parts(word: str) -> list[str]:
    """The names in a word; a file that is there, and what sets a value, is one."""
    if "," not in word or "=" in word or Path(word).exists():
        return [word]
    return [part.strip() for part in word.split(",") if part.strip()] or [word]


def as_registered(verb: str, config: Namespace) -> None:
    """Put registered names in the place of those that mean them: `TIES`, `RegMean++`, `TSV-M`, `Tiny-8`.

    What means nothing, or more than one thing, stays, and is refused where it is used.

    Args:
        verb: whose arguments these are.
        config: the arguments; changed in place.
    """
    given = {name: value for name, value in vars(config).items() if value and name in (*METHODS, *REGISTERED)}
    if verb in STORED or not given:
        return
    from mergebench.catalogue import registry

    if any(map(registry.is_file, [given.get("method", ""), *given.get("methods", [])])):
        given.pop("set", None)  # the file's method may be called almost as one of ours, and be what is meant
    for argument, value in given.items():
        if argument in METHODS:
            names = Spellings([(name, card.title) for name, card in registry.methods().items()])
            config[argument] = _each(value, _method, names)
        else:
            names = Spellings([(name,) for name in registry.config_files(REGISTERED[argument])])
            config[argument] = _each(value, _registered, names)


def _each(value: Any, change: Callable[[str, Spellings], str], names: Spellings) -> Any:
    return [change(word, names) for word in value] if isinstance(value, list) else change(value, names)


def _registered(word: str, names: Spellings) -> str:
    return names.meant(word) or word


def _method(word: str, names: Spellings) -> str:
    """A method's name, which may be followed by what is set of it (`ties.density=0.1`); a file's stays."""
    from mergebench.catalogue.registry import is_file

    if is_file(word):
        return word
    ends = (len(word), *(place for place, character in enumerate(word) if character == "."))
    found = next((name + word[end:] for end in ends if (name := names.meant(word[:end]))), None)
    return found or (word.lower() if any(mark in word for mark in "*?[") else word)
