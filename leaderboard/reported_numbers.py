"""Published averages: an order to compare with, and beside measured ones of the same checkpoints; never ranked."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.rank_correlation import rank_correlation, rank_correlation_interval
from mergebench.leaderboard.tracks import GIVEN, PUBLISHED

FEWEST_SHARED = 4  # below that an order of methods says nothing


@dataclass(frozen=True)
class Reported:
    """One set of published averages, all from the same checkpoints.

    Args:
        backbone: the model.
        tasks: how many tasks were merged.
        checkpoints: the family of experts; numbers of two families must not be compared.
        averages: method -> average accuracy in %.
        names: the tasks' names; unknown where empty.
    """

    backbone: str
    tasks: int
    checkpoints: str
    averages: Mapping[str, float]
    names: Sequence[str] = ()


@cache
def read_reported() -> tuple[Reported, ...]:
    """All published sets that ship with the package."""
    sets: dict[tuple[str, int, str], dict[str, float]] = {}
    for row in _read("averages"):
        key = (row["backbone"], int(row["tasks"]), row["checkpoints"])
        sets.setdefault(key, {})[row["method"]] = float(row["average"])
    names = {row["checkpoints"]: row["tasks"].split() for row in _read("tasks")}
    return tuple(Reported(*key, averages, names[key[2]][: key[1]]) for key, averages in sets.items())


@cache
def _read(name: str) -> tuple[dict[str, str], ...]:
    text = files("mergebench.leaderboard").joinpath(f"reported/{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def reported_of(board: Board) -> Reported | None:
    """What is published of a board's very checkpoints and tasks; None where the zoo states no such family."""
    stated = (board.checkpoints.get("backbone"), board.checkpoints.get("family"))
    for reported in read_reported():
        if (reported.backbone, reported.checkpoints) == stated and set(reported.names) == set(board.tasks):
            return reported
    return None


def reported_average(row: Row, reported: Reported | None) -> float | None:
    """The published average that a row may be held against, as a fraction; none is of settings chosen here."""
    if reported is None or searched_for(row.tuned) or row.given or row.method not in reported.averages:
        return None
    return reported.averages[row.method] / 100


def searched_for(record: Mapping[str, Any]) -> bool:
    """Whether a search has chosen a row's settings (of which it left the record), and not the default."""
    return bool(record) and record.get("trial") != 0


def shaped_by(zoo: str) -> list[str]:
    """The methods whose results were looked at when a zoo was made: their order is partly built in."""
    return [row["method"] for row in _read("shaped") if row["zoo"] == zoo]


@dataclass(frozen=True)
class Agreement:
    """How far a board's order of methods is a published one.

    Args:
        tau: Kendall's tau-b.
        interval: its 95 % interval, over draws of the methods.
        methods: those that both have, in the board's order.
    """

    tau: float
    interval: tuple[float, float]
    methods: tuple[str, ...]


def rank_agreement(board: Board, reported: Reported, track: str = PUBLISHED) -> Agreement | None:
    """The agreement of a board's order of methods with a published one; None of too few methods to say anything.

    Args:
        board: measured; of a method's rows only the first (its best) counts. The experts and the joint model are left
            out, which are above all others by construction.
        reported: published.
        track: whose rows.
    """
    measured: dict[str, float] = {}
    for row in board.rows:
        if row.average is not None and (row.role == "floor" or (row.role == "method" and row.track == track)):
            measured.setdefault(row.method, row.average)
    shared = tuple(method for method in measured if method in reported.averages)
    if len(shared) < FEWEST_SHARED:
        return None
    ours, theirs = (tuple(averages[m] for m in shared) for averages in (measured, reported.averages))
    return Agreement(rank_correlation(ours, theirs), rank_correlation_interval(ours, theirs), shared)


def agreements(board: Board) -> list[str]:
    """One sentence for every track and published set that shares enough methods, and as many tasks, with the board.

    Behind them stands which methods had a part in making the zoo, so that their order confirms less.
    """
    sentences, named = [], {}
    shaped = shaped_by(board.zoo)
    for track in dict.fromkeys(row.track for row in board.rows if row.track != GIVEN):
        for reported in read_reported():
            found = rank_agreement(board, reported, track) if reported.tasks == len(board.tasks) else None
            if found is None:
                continue
            whose = "Order of methods" if track == PUBLISHED else f"Order of methods under {track} settings"
            sentences.append(
                f"{whose} against the published one on {reported.backbone}, {reported.tasks} tasks "
                f"({reported.checkpoints} checkpoints): Kendall's tau {_told(found)}."
            )
            named |= dict.fromkeys(m for m in shaped if m in found.methods)
    if named:
        sentences.append(f"The zoo was made with an eye on {', '.join(named)}: their order is partly built in.")
    return sentences


def _told(found: Agreement) -> str:
    low, high = found.interval
    return f"{found.tau:.2f} over {len(found.methods)} methods ({low:.2f} to {high:.2f} over draws of them)"
