"""The registry: what methods, tasks, zoos and suites there are, built in or brought by others, by name."""

import ast
import fnmatch
import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from mergebench.catalogue.discovery import scan_file, scan_package
from mergebench.data.corruption import Corruption
from mergebench.data.task import Task
from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.merging.method import MethodCard, Needs

FAMILIES = ("references", "data-free", "calibration", "test-time")
# Folders of YAML files -> what one file is; also the option that takes it.
SINGULAR = {"suites": "suite", "studies": "study", "zoos": "zoo"}

Item = TypeVar("Item")


@cache
def methods() -> MappingProxyType[str, MethodCard]:
    """All registered methods, references first, then by family and name.

    Raises:
        MergebenchError: two methods of the same name.
    """
    cards = (card for entry in entry_points(group="mergebench.methods") for card in scan_package(entry.value))
    found = _collected("methods", ((card.path, {card.name: card}) for card in cards))
    ordered = sorted(found.values(), key=lambda c: (FAMILIES.index(c.family), c.name))
    return MappingProxyType({c.name: c for c in ordered})


@cache
def tasks() -> MappingProxyType[str, Task]:
    """All registered tasks by name; raises as `methods` does."""
    return _collected("tasks", ((entry.value, entry.load()) for entry in entry_points(group="mergebench.tasks")))


@cache
def corruptions() -> MappingProxyType[str, Corruption]:
    """All registered corruptions by name; raises as `methods` does."""
    entries = entry_points(group="mergebench.corruptions")
    return _collected("corruptions", ((entry.value, entry.load()) for entry in entries))


@cache
def config_files(kind: str) -> MappingProxyType[str, Path]:
    """YAML files of one kind (`suites`, `studies`, `zoos`) by stem, from all packages; raises as `methods` does."""
    packages = [entry.value for entry in entry_points(group="mergebench.configs")]
    folders = {p: _folder(p) / kind for p in packages}
    return _collected(kind, ((p, {f.stem: f for f in sorted(d.glob("*.yaml"))}) for p, d in folders.items()))


def _folder(package: str) -> Path:
    file = importlib.import_module(package).__file__
    if file is None:
        raise MergebenchError(
            f"entry point of group 'mergebench.configs' names {package!r}, which has no __init__.py; give it one"
        )
    return Path(file).parent


def _collected(kind: str, parts: Iterable[tuple[str, Mapping[str, Item]]]) -> "MappingProxyType[str, Item]":
    """What all packages bring, by name; of two things of one name neither may take the other's place unseen."""
    found: dict[str, Item] = {}
    origin: dict[str, str] = {}
    for source, items in parts:
        for name, item in items.items():
            if name in found:
                raise MergebenchError(f"two {kind} are named {name!r}: {origin[name]} and {source}")
            found[name], origin[name] = item, source
    return MappingProxyType(found)


def get(kind: str, name: str, known: "MappingProxyType[str, Item]") -> Item:
    """One registered thing.

    Raises:
        UnknownNameError: there is none of that name; the nearest are listed.
    """
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return known[name]


def find_task(name: str, among: Sequence[str], where: str) -> str:
    """A task's own name, from that name or from the CLIP task that it stands for, however that is spelt.

    Args:
        name: as a person writes it: "landcover", "eurosat", "EuroSAT".
        among: the tasks there are.
        where: whose they are, for the message.

    Raises:
        UnknownNameError: none of them is meant.
    """
    if name in among:
        return name
    standing = {tasks()[t].card.stands_for: t for t in among if t in tasks()}
    spelt = {_letters(n): t for n, t in (standing | {t: t for t in among}).items()}
    if _letters(name) not in spelt:
        raise UnknownNameError(f"task of {where}:", name, [*among, *standing])
    return spelt[_letters(name)]


def _letters(name: str) -> str:
    """A name without case and separators: "Stanford Cars" is "stanford-cars"."""
    return "".join(c for c in name.lower() if c.isalnum())


def config_file(kind: str, name: str) -> Path:
    """The YAML behind a registered name, or behind a path to a file of one's own (`./mine.yaml`).

    Raises:
        UnknownNameError: nothing of any kind bears the name.
        MergebenchError: it is of another kind, or there is no such file.
    """
    singular = SINGULAR[kind]
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise MergebenchError(f"no such {singular} file: {name}")
        return path
    other = next((k for k in SINGULAR if k != kind and name in config_files(k)), None)
    if other and name not in config_files(kind):
        raise MergebenchError(
            f"{name!r} is a {SINGULAR[other]}, not a {singular}; `run` takes it as --{SINGULAR[other]}"
        )
    return get(singular, name, config_files(kind))


def is_file(method: str) -> bool:
    """Whether a method's name, or a pattern of such, leads to a file of code: `path/to/file.py[:function]`."""
    return ".py" in method


def select_methods(patterns: Iterable[str]) -> list[MethodCard]:
    """Methods by name, wildcard, family, `all`, or `path/to/file.py[:function]`, each once, in the order asked for.

    Args:
        patterns: what stands after `--methods`.

    Raises:
        UnknownNameError: a pattern that selects nothing.
        MergebenchError: a plug-in file that does not hold the method, or one that takes a registered method's name.
    """
    known = methods()
    chosen: dict[str, MethodCard] = {}
    for pattern in patterns:
        if is_file(pattern):
            picked = _from_file(pattern, known)
        elif pattern == "all":
            picked = list(known.values())
        elif pattern in FAMILIES:
            picked = [c for c in known.values() if c.family == pattern]
        else:
            picked = [known[n] for n in fnmatch.filter(known, pattern)]
        if not picked:
            _check_no_place(pattern)
            raise UnknownNameError("method", pattern, [*known, *FAMILIES, "all"])
        for card in picked:
            if chosen.setdefault(card.name, card).path != card.path:
                raise MergebenchError(f"two methods are named {card.name!r}: {chosen[card.name].path} and {card.path}")
    return list(chosen.values())


def method(name: str) -> MethodCard:
    """One method by name or by `path/to/file.py:function`.

    Raises:
        UnknownNameError: there is none.
        MergebenchError: a file that holds several, none of them named.
    """
    if not is_file(name):
        if name not in methods():
            _check_no_place(name)
        return get("method", name, methods())
    cards = _from_file(name, methods())
    if len(cards) != 1:
        raise MergebenchError(f"{name} holds {len(cards)} methods; say which: {name}:{cards[0].function}")
    return cards[0]


def _check_no_place(name: str) -> None:
    """Refuse what looks like a file's place and is none: no method is called so."""
    if "/" in name or name.startswith("."):
        raise MergebenchError(f"{name}: a method of one's own is named by its file, FILE.py or FILE.py:FUNCTION")


def needs_of(card: MethodCard, hyperparameters: Mapping[str, Any]) -> Needs:
    """What a method reads under these hyper-parameters, with what the method reads that it starts from.

    Args:
        card: the method.
        hyperparameters: those that differ from the defaults, or all of them. Where `starts` is "start", that names the
            other method and "start_settings" holds what is set of it.

    Raises:
        MergebenchError: it starts from a method that does not exist, from itself, or from one model per task.
    """
    needs = card.needs_for(hyperparameters)
    start = start_of(card, hyperparameters)
    if start is None:
        return needs
    return needs | needs_of(start, hyperparameters.get(f"{card.starts}_settings") or {})


def start_of(card: MethodCard, hyperparameters: Mapping[str, Any]) -> MethodCard | None:
    """The method from whose result another one starts, if it starts from one; raises as `needs_of` does."""
    if not card.starts:
        return None
    named = hyperparameters.get(card.starts)
    if not named:
        default = card.hyperparameters[card.starts][1]
        try:
            named = ast.literal_eval(default)
        except ValueError:
            raise MergebenchError(
                f"method {card.name!r}: the default of {card.starts!r} must be a literal, not {default}"
            ) from None
    start = method(named)
    # A start that starts from something itself does so from what it is set to, or from what does not.
    circular = start.starts and not hyperparameters.get(f"{card.starts}_settings") and start.path == card.path
    if start.role == "ceiling" or start.name == card.name or circular:
        raise MergebenchError(f"method {card.name!r} cannot start from {start.name!r}")
    return start


def with_starts(card: MethodCard, hyperparameters: Mapping[str, Any]) -> list[MethodCard]:
    """A method, the one from whose result it starts, and so on; raises as `needs_of` does."""
    start = start_of(card, hyperparameters)
    settings = hyperparameters.get(f"{card.starts}_settings") or {}
    return [card, *(with_starts(start, settings) if start else [])]


def _from_file(pattern: str, known: "MappingProxyType[str, MethodCard]") -> list[MethodCard]:
    path, _, wanted = pattern.rpartition(".py:") if ".py:" in pattern else (pattern.removesuffix(".py"), "", "")
    faults: dict[str, MergebenchError] = {}
    cards = list(scan_file(Path(path + ".py").resolve(), spoilt=faults.__setitem__))
    if fault := next((why for function, why in faults.items() if wanted in ("", function)), None):
        others = " or ".join(f"{path}.py:{card.function}" for card in cards)
        raise MergebenchError(f"{fault}{f'; what is right can be named: {others}' * bool(others and not wanted)}")
    # A registered method's file is its module, whichever way it is asked for.
    registered = {(Path(c.path).resolve(), c.name): c for c in known.values()}
    cards = [registered.get((Path(c.path), c.name), c) for c in cards]
    picked = [c for c in cards if not wanted or wanted in (c.function, c.name)]
    if not picked:
        held = ", ".join(c.function for c in cards) or "none"
        told = "".join(f"; left out: {fault}" for fault in faults.values())
        raise MergebenchError(
            f"{path}.py: no function {wanted!r} under @merge_method; the file's methods: {held}{told}"
        )
    for card in picked:
        if card.name in known and known[card.name].path != card.path:
            raise MergebenchError(
                f"{card.path} names its method {card.name!r}, which is built in: give it another name"
            )
    return picked
