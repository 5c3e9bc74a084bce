"""Tracks: methods under published settings and under those that a search has chosen, each ranked by itself.

What somebody has set by hand is in neither: of as many tries as one likes, the best would be ranked with others' first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, TypeVar

from mergebench.measuring.facts import GIVEN, PUBLISHED, TUNED

Placed = TypeVar("Placed")  # a board's row, which is made of these


def in_tracks(rows: Sequence[Placed]) -> list[Placed]:
    """The rows, each in its track; those that stand in both, twice, and those of settings given by hand apart.

    The default settings stand in both where a search found none better, and where there is nothing to search (a record
    of no trials says so). Where others have tuned settings alone, they stand in that track alone, too: a handful of
    methods that have nothing to tune would be ranked among themselves. References and rows of failures are no track's;
    they stand with the published ones.

    Args:
        rows: one for each method and setting, with the record of the search that chose it, if one did.
    """
    searched = any(row.tuned.get("trials") for row in rows)
    by_hand = [replace(row, tuned={}, track=GIVEN) for row in rows if row.given and not row.tuned.get("trials")]
    rows = [replace(row, given={}) for row in rows if not row.given or row.tuned.get("trials")]
    methods = [row for row in rows if row.role == "method" and not row.tier]
    published = not any(row.tuned.get("trial") for row in methods) or not all(row.tuned for row in methods)
    found = []
    for row in rows:
        record = row.tuned if row.tuned.get("trials") else {}
        default = not row.tuned or row.tuned.get("trial") == 0
        if row.role != "method" or not row.tuned or (default and published):
            found.append(replace(row, tuned={}, track=PUBLISHED))
        if row.tuned and searched and row.role == "method":
            found.append(replace(row, tuned=record, track=TUNED, gain=_gain(row, rows) if record else None))
    return found + by_hand


def stands_twice(row: Any, rows: Iterable[Any]) -> bool:
    """Whether a row of the tuned track is one of the published track's too: the same measurement, shown in both."""
    same = row.track == TUNED and not row.tuned.get("trial")
    return same and any(
        (o.track, o.method, o.hyperparameters) == (PUBLISHED, row.method, row.hyperparameters) for o in rows
    )


def superseded(rows: Sequence[Placed]) -> list[Placed]:
    """The tuned rows whose search has gone on since, with more trials or more studies: another row has its choice.

    Args:
        rows: one for each method and setting, with the record of the search that chose it, if one did.
    """
    tuned = [row for row in rows if row.tuned.get("trials")]
    return [row for row in tuned if any(_goes_on(row.tuned, o.tuned) for o in tuned if o.method == row.method)]


def _goes_on(record: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
    """Whether a record is of the same search as another, and of more of it."""
    same = all(record.get(name) == later.get(name) for name in ("sampler", "split", "space", "fixed", "from"))
    (trials, seeds), (more_trials, more_seeds) = _budget(record), _budget(later)
    within = trials <= more_trials and seeds <= more_seeds
    return same and within and (trials, seeds) != (more_trials, more_seeds)


def _budget(record: Mapping[str, Any]) -> tuple[int, set[int]]:
    """Trials of each study, and the seeds that part the studies."""
    studies = record.get("studies") or [record]
    return record["trials"], {study.get("seed", place) for place, study in enumerate(studies)}


def _gain(row: Any, rows: Iterable[Any]) -> float | None:
    """How much higher a tuned row's average is than that of the settings that its search began with, same seeds."""
    begun = row.hyperparameters | row.tuned.get("from", {})
    for other in rows:
        same = other.method == row.method and other.hyperparameters == begun and other.seeds == row.seeds
        if same and None not in (row.average, other.average) and "from" in row.tuned:
            return row.average - other.average
    return None


def gains(rows: Iterable[Any]) -> str:
    """What tuning gave on the test split, in a sentence; empty where no row has its default beside it."""
    told: dict[str, float] = {}
    for row in rows:
        if row.gain is not None:  # of a method's tuned rows the first, its best
            told.setdefault(row.title, 100 * row.gain)
    if not told:
        return ""
    each = ", ".join(f"{title} {gain:+.1f}" for title, gain in sorted(told.items(), key=lambda item: -item[1]))
    mean = f"; on average {fmean(told.values()):+.1f} over {len(told)} methods" if len(told) > 1 else ""
    return f"Tuning gave, in points on the test split against the default: {each}{mean}."
