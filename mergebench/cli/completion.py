"""Completion in a shell, by argcomplete: verbs, their options, and the names of what is registered.

A shell that has run `eval "$(register-python-argcomplete mergebench)"` calls the program with the line so far in its
environment, and takes the words that it writes.
"""

import argparse
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from jsonargparse import ArgumentParser

from mergebench.cli.helping import choices_of
from mergebench.cli.verbs import VERBS

ASKED = "_ARGCOMPLETE"  # of the environment: what is wanted are words to go on with


def complete(make_parser: Callable[[str | None], Any]) -> None:
    """Write the words that may follow, and end the process.

    Args:
        make_parser: the command line with the arguments of one verb.
    """
    import argcomplete

    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", 0))]
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # a quote that is not closed yet
        words = line.split()[1:]
    verb = next((word for word in words if word in VERBS), None)
    argcomplete.autocomplete(_plain(verb, make_parser(verb).of_verb), always_complete_options="long")


def _plain(verb: str | None, parser: ArgumentParser | None) -> argparse.ArgumentParser:
    """The same options without jsonargparse's types, of which argcomplete knows nothing."""
    whole = argparse.ArgumentParser()
    verbs = whole.add_subparsers()
    for name in VERBS:
        child = verbs.add_parser(name)
        for action in parser._actions if parser is not None and name == verb else ():  # noqa: SLF001
            if "--help" not in action.option_strings:
                _copied(action, child)
    return whole


def _copied(action: argparse.Action, parser: argparse.ArgumentParser) -> None:
    names = [name for name in action.option_strings if name.startswith("--")] or [action.dest]
    if action.nargs == 0:
        parser.add_argument(*names, action="store_true")
        return
    literal = [name for name in get_args(getattr(action, "_typehint", None)) if isinstance(name, str)]
    choices = [str(name) for name in action.choices or ()] or literal or choices_of(action)
    copy = parser.add_argument(*names, nargs=action.nargs, choices=choices or None)
    if action.dest in NAMES:
        copy.completer = _completer(NAMES[action.dest])  # type: ignore[attr-defined]  # where argcomplete looks


def _completer(names: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    """Registered names and files: either may stand where a name does."""

    def found(prefix: str, **_: Any) -> list[str]:
        from argcomplete.completers import FilesCompleter

        files = FilesCompleter()(prefix) if "/" in prefix or prefix.startswith(".") else []
        return [name for name in names() if name.startswith(prefix)] + list(files)

    return found


def _configured(kind: str) -> Callable[[], Iterable[str]]:
    def names() -> Iterable[str]:
        from mergebench.catalogue import registry

        return registry.config_files(kind)

    return names


def _methods() -> Iterable[str]:
    from mergebench.catalogue import registry

    return ["all", *registry.FAMILIES, *registry.methods()]


def _tasks() -> Iterable[str]:
    from mergebench.catalogue import registry

    return registry.tasks()


def _everything() -> Iterable[str]:
    from mergebench.catalogue import registry

    kinds = [registry.config_files(kind) for kind in ("suites", "studies", "zoos")]
    return [name for names in (registry.methods(), *kinds, registry.tasks(), registry.corruptions()) for name in names]


# Argument -> the names that there are; `describe` takes whatever is registered.
NAMES: Mapping[str, Callable[[], Iterable[str]]] = {
    "method": _methods,
    "methods": _methods,
    "rows": _methods,
    "suite": _configured("suites"),
    "study": _configured("studies"),
    "zoo": _configured("zoos"),
    "task": _tasks,
    "tasks": _tasks,
    "name": _everything,
}
