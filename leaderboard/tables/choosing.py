"""Which rows and columns a table has, and in which order: what the command line asks for, and what is there."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from mergebench.errors import UnknownNameError
from mergebench.leaderboard.reported_numbers import searched_for
from mergebench.leaderboard.tables.grid import Cell, Column
from mergebench.leaderboard.tracks import PUBLISHED, TUNED

REFERENCES = ("floor", "ceiling", "joint")  # in this order, above the methods
ALL = "all"
KINDS = (ALL, "methods", "references")  # of rows; asked for, they may be none


@dataclass(frozen=True)
class Wishes:
    """What was asked for.

    Args:
        rows: names of methods, patterns (`regmean*`), families, "methods", "references" or "all".
        columns: names of columns, or of kinds of them; the layout's own choice, if empty.
        order: of the rows: "average", "name", "given" or "year" (of the paper).
        track: which settings of methods: "published", "tuned", "given" or "all".
        digits: decimals of percentages.
        spread: where standard deviations stand: "average", "all" or "none".
    """

    rows: tuple[str, ...] = (ALL,)
    columns: tuple[str, ...] = ()
    order: str = "average"
    track: str = ALL
    digits: int = 1
    spread: str = "average"


@dataclass(frozen=True)
class Entry:
    """What may become a row.

    Args:
        method, title, role, family, paper: from the method's card.
        settings, tuned: its hyper-parameters, and the record of the search that chose them (empty without).
        average: what rows are ordered by; None where nothing was measured.
        source: whatever the layout reads the cells from.
        track: "published", "tuned" or "given"; empty where rows have none, and the record of the search tells which.
        given: the published values in whose place somebody gave others.
    """

    method: str
    title: str
    role: str
    family: str
    paper: str
    settings: dict[str, Any]
    tuned: dict[str, Any]
    average: float | None
    source: Any
    track: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Field:
    """What may become a column.

    Args:
        column: as it is shown.
        keys: the names by which it can be asked for.
        of: an entry's source -> its cell.
    """

    column: Column
    keys: tuple[str, ...]
    of: Callable[[Any], Cell]


def chosen_rows(entries: Sequence[Entry], wishes: Wishes, apart: bool = False) -> list[Entry]:
    """The entries asked for, in the order asked for: references first, unless the order is the given one.

    Args:
        entries: those that there are.
        wishes: what is asked for.
        apart: whether the table tells tracks apart: default settings that stand in both stand there once for each.
    """
    in_track = _in_track(entries, wishes.track, apart)
    found: dict[int, Entry] = {}
    for name in wishes.rows:
        found |= {id(e): e for e in in_track if _answers(e, name)}
    chosen = list(found.values())
    if wishes.order == "given":
        return chosen
    keys: dict[str, Callable[[Entry], Any]] = {
        "average": lambda e: (e.average is None, -(e.average or 0.0)),
        "name": lambda e: e.title.casefold(),
        "year": lambda e: published(e.paper),
    }
    by_place = sorted(chosen, key=lambda e: (keys[wishes.order](e), e.method))
    return sorted(by_place, key=lambda e: REFERENCES.index(e.role) if e.role in REFERENCES else len(REFERENCES))


def absent_rows(entries: Sequence[Entry], wishes: Wishes) -> tuple[str, ...]:
    """The names asked for that no entry answers to; another table of the same verb may have such rows."""
    return tuple(n for n in wishes.rows if n not in KINDS and not any(_answers(e, n) for e in entries))


def chosen_fields(fields: Sequence[Field], names: Iterable[str]) -> list[Field]:
    """The fields that answer to the names, in the order of the names; those of one group stay together.

    Raises:
        UnknownNameError: a name that none answers to.
    """
    found: dict[int, Field] = {}
    for name in names:
        answering = {id(f): f for f in fields if name in f.keys}
        if not answering:
            raise UnknownNameError("column", name, {key for f in fields for key in f.keys})
        found |= {i: f for i, f in answering.items() if i not in found}
    chosen = list(found.values())
    groups = [field.column.group for field in chosen]
    places = [groups.index(group) if group else place for place, group in enumerate(groups)]
    return [chosen[place] for place in sorted(range(len(chosen)), key=places.__getitem__)]


def published(paper: str) -> tuple[int, int]:
    """Year and month of a paper, as its reference tells them (arXiv numbers do); unknown ones come last."""
    arxiv = re.search(r"arXiv:(\d\d)(\d\d)\.", paper)
    if arxiv:
        return 2000 + int(arxiv[1]), int(arxiv[2])
    year = re.search(r"\b(?:19|20)\d\d\b", paper)
    return (int(year[0]), 0) if year else (9999, 0)


def _in_track(entries: Sequence[Entry], track: str, apart: bool) -> list[Entry]:
    """The entries of a track, or of all; the default settings stand in both, but once where nothing parts these."""
    if track != ALL:
        return [e for e in entries if e.role != "method" or track in _tracks(e)]
    if apart:
        return list(entries)
    published = {_same(e) for e in entries if e.track == PUBLISHED}
    return [e for e in entries if e.track != TUNED or searched_for(e.tuned) or _same(e) not in published]


def _same(entry: Entry) -> tuple[str, str, str]:
    return entry.method, entry.title, repr(entry.settings)


def _tracks(entry: Entry) -> tuple[str, ...]:
    if entry.track:
        return (entry.track,)
    return (PUBLISHED,) * (not searched_for(entry.tuned)) + (TUNED,) * bool(entry.tuned)


def _answers(entry: Entry, name: str) -> bool:
    if name in ("methods", "references"):
        return (entry.role == "method") is (name == "methods")
    return name in (ALL, entry.family) or fnmatchcase(entry.method, name)
