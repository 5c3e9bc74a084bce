"""A page per method: its card, its equation, its settings, all its results, and the commands that make them again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mergebench.configuration import option_value
from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.series import Line, Series
from mergebench.leaderboard.site.equation import as_math, blocks
from mergebench.leaderboard.site.known import Known, method_path
from mergebench.leaderboard.site.views import NOTHING, board_title, row_link, series_id
from mergebench.leaderboard.tracks import PUBLISHED, TUNED

CHOICES = "settings.yaml"  # what the commands of tuned rows call the file of what a search has chosen
RECORDED = {"suite", "zoo", "space", "fixed", "studies"}  # what such a file has to tell


def method_pages(boards: Sequence[Board], series: Sequence[Series], known: Known) -> dict[str, tuple[str, dict]]:
    """Path of each page -> its template and what that is filled with.

    Args:
        boards, series: of all results.
        known: the cards; a method that is not among them has what its results say.
    """
    titles: dict[str, Row | Line] = {}
    results: dict[str, list[dict[str, Any]]] = {}
    for board in boards:
        for row, label in zip(board.rows, board.labels, strict=True):
            titles.setdefault(row.method, row)
            results.setdefault(row.method, []).append(_result(board, row, label, named(row.method, known)))
    elsewhere: dict[str, list[dict[str, str]]] = {}
    for one in series:
        for line, label in zip(one.lines, one.labels, strict=True):
            titles.setdefault(line.method, line)
            place = {"label": f"{label}: {one.name} on {one.zoo}", "link": f"../index.html#{series_id(one)}"}
            elsewhere.setdefault(line.method, []).append(
                place | {"command": series_command(one, line, named(line.method, known))}
            )
    return {
        method_path(method): (
            "method.html",
            _facts(method, first, known) | {"results": results.get(method, []), "series": elsewhere.get(method, [])},
        )
        for method, first in titles.items()
    }


def _facts(method: str, first: Row | Line, known: Known) -> dict[str, Any]:
    card = known.methods.get(method, NOTHING)
    told = card.facts
    if not told and isinstance(first, Row):
        told = {"paper": first.paper or "-", "family": first.family, "needs": ", ".join(first.needs) or "-"}
    parts = [
        {"kind": kind, "lines": [as_math(line) if kind == "equation" else line for line in lines], "plain": lines}
        for kind, lines in blocks(card.text)
    ]
    return {
        "name": method,
        "title": first.title,
        "facts": told,
        "parts": parts,
        "settings": card.settings,
        "registered": method in known.methods,
    }


def named(method: str, known: Known) -> str:
    """How the command line names a method: one that is not registered by its file, of which results tell no path."""
    return method if method in known.methods or not known.methods else "FILE.py"


def _result(board: Board, row: Row, label: str, name: str) -> dict[str, Any]:
    return {
        "board": board_title(board),
        "link": row_link(board, row),
        "label": label,
        "track": formatting.track(row),
        "rank": formatting.rank(row),
        "average": formatting.percent(row.average),
        "interval": formatting.interval(row),
        "relative": formatting.percent(row.relative),
        "seconds": formatting.seconds(row),
        "seeds": ", ".join(map(str, row.seeds)) or "-",
        "failure": row.error if row.average is None else "",
        "tasks": [(task, formatting.percent(value)) for task, value in row.tasks.items()],
        "command": command(board, row, name),
        "choices": choices(row),
        "file": CHOICES,
    }


def command(board: Board, row: Row, name: str = "") -> str:
    """What makes a row again, in its own track; every setting is said, whatever suites and defaults may say by then.

    Of a tuned one what the search chose and held fixed is said, by the file (`choices`), beside which nothing can be
    given: the rest is what suite and defaults say. A method with nothing to tune comes back as a published row.

    Args:
        board: where it stands.
        row: which.
        name: of its method on the command line, if that is another.
    """
    words = ["mergebench", "run", "--methods", name or row.method, "--suite", board.suite, "--zoo", board.zoo]
    if row.seeds and row.seeds != (0,):
        words += ["--seeds", *map(str, row.seeds)]
    if _chosen(row):
        return shlex.join([*words, "--settings", CHOICES])
    return shlex.join([*words, "--settings", PUBLISHED, *_set(row.method, row.hyperparameters)])


def choices(row: Row) -> list[str]:
    """The lines of the settings file that the command of a tuned row reads; empty for every other row.

    Args:
        row: which.
    """
    chosen = _chosen(row)
    if not chosen:
        return []
    place = {key: row.tuned[key] for key in ("suite", "zoo")}
    search = {key: value for key, value in row.tuned.items() if key not in place}
    file = place | {"methods": {row.method: {"settings": chosen, "search": search}}}
    plain = json.loads(json.dumps(file))  # measured just now, settings are of types that restrict their values
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120).splitlines()


def _chosen(row: Row) -> dict[str, Any]:
    """What a search chose for a tuned row, or held fixed; nothing where its record does not tell all of that."""
    if row.track != TUNED or not row.tuned.keys() >= RECORDED:
        return {}
    asked = row.tuned["space"].keys() | row.tuned["fixed"].keys()
    return {n: v for n, v in row.hyperparameters.items() if n in asked}


def series_command(series: Series, line: Line, name: str = "") -> str:
    """What makes a line again: a study brings its own methods, seeds and settings.

    Args:
        series: where it stands.
        line: which.
        name: of its method on the command line, if that is another.
    """
    if series.study:
        return shlex.join(["mergebench", "run", "--study", series.study, "--zoo", series.zoo])
    words = ["mergebench", "run", "--methods", name or line.method, "--suite", series.suite, "--zoo", series.zoo]
    seeds = sorted({result.seed for results in line.results.values() for result in results})
    words += ["--seeds", *map(str, seeds)] if seeds != [0] else []
    return shlex.join(words + _set(line.method, line.settings))


def _set(method: str, settings: Mapping[str, Any]) -> list[str]:
    """Every setting, as words of the command line."""
    said = [f"{method}.{name}={option_value(value)}" for name, value in settings.items()]
    return ["--set", *said] if said else []
