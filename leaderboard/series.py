"""A suite with several variants, or a study: every method at every point, over its seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from mergebench.leaderboard.comparable import comparable
from mergebench.leaderboard.labels import Named, told_apart
from mergebench.leaderboard.notes import (
    by_hand,
    codes,
    conditions,
    environments,
    failures,
    measured,
    searches,
    unproven,
)
from mergebench.leaderboard.statistics import ROUNDING, average_interval, seed_interval
from mergebench.measuring.results import SUITE_AXES, Result, TaskScore

Metric = Callable[[Result], Mapping[str, TaskScore]]

# name -> which of a result's scores are averaged
METRICS: dict[str, Metric] = {
    "all tasks": lambda r: r.tasks,
    "merged tasks": lambda r: {t: s for t, s in r.tasks.items() if t in r.merged},
    "tasks not merged": lambda r: {t: s for t, s in r.tasks.items() if t not in r.merged},
    "validation": lambda r: r.validation,
}


@dataclass(frozen=True)
class Score:
    """One method at one point.

    Args:
        seeds: seed -> mean accuracy over tasks.
        interval: 95 %: over seeds, or over test images where there is one seed or seeds change nothing.
        over_seeds: which of the two.
    """

    seeds: Mapping[int, float]
    interval: tuple[float, float]
    over_seeds: bool = False

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.seeds.values())


@dataclass(frozen=True)
class Line:
    """One method, with one setting of whatever is not varied.

    Args:
        method, title, role: from its card.
        settings: hyper-parameters other than the varied ones.
        scores: metric -> variant -> score.
        results: variant -> its results, one per seed.
    """

    method: str
    title: str
    role: str
    settings: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, Score]]
    results: Mapping[str, Sequence[Result]]

    @property
    def tuned(self) -> dict[str, Mapping[str, Any]]:
        """variant -> how a search chose the hyper-parameters there; empty where none did."""
        return {r.variant: r.tuned for results in self.results.values() for r in results if r.tuned.get("trials")}

    @property
    def given(self) -> dict[str, Any]:
        """The published values in whose place somebody gave others; empty where a search has chosen."""
        newest = max((r for results in self.results.values() for r in results), key=lambda r: r.last_asked)
        return {} if self.tuned else {name: value for name, value in newest.given.items() if name in self.settings}


@dataclass(frozen=True)
class Series:
    """All lines of one suite, or of one study on it, on one zoo.

    Args:
        suite, study, zoo: whose.
        points: variant -> axis -> value.
        metrics: the names of what there is to show, the first being the main one.
        lines: references first, then methods by the mean of the main metric, those that lack points last.
        notes: sentences that must stand beside the tables.
    """

    suite: str
    study: str
    zoo: str
    points: Mapping[str, Mapping[str, Any]]
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The study's name, or the suite's."""
        return self.study or self.suite

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of its points."""
        return tuple(dict.fromkeys(axis for point in self.points.values() for axis in point))

    @cached_property
    def labels(self) -> list[str]:
        """One label per line: the title, with the settings that were tuned or differ in lines of the same method."""
        records = [next(iter(line.tuned.values()), {}) for line in self.lines]
        lines = zip(self.lines, records, strict=True)
        return told_apart([Named(x.method, x.title, x.settings, record, x.given) for x, record in lines])

    @property
    def sequential(self) -> bool:
        """Whether tasks arrive in steps."""
        return {"order", "step"} <= set(self.axes)


def make_series(results: Iterable[Result]) -> list[Series]:
    """Group the results that have a point, or belong to a study; where a cell was measured again, the newest counts.

    Args:
        results: stored results, in any order.
    """
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in sorted(results, key=lambda r: r.last_asked):
        if result.point or result.study:
            groups.setdefault((result.suite, result.study, result.zoo), []).append(result)
    # While a study has only its references, there is no point to show them at.
    return [_series(g, m) for g, m in sorted(groups.items()) if any(r.role == "method" or not g[1] for r in _well(m))]


def _well(results: Sequence[Result]) -> list[Result]:
    return [r for r in results if r.status == "ok"]


def _series(group: tuple[str, str, str], results: list[Result]) -> Series:
    members = comparable(_well(results))
    settings = {id(r): {k: v for k, v in r.hyperparameters.items() if k not in r.varied} for r in members}
    by_line: dict[tuple, dict[str, dict[int, Result]]] = {}
    for result in members:
        key = (result.method, repr(sorted(settings[id(result)].items())))
        by_line.setdefault(key, {}).setdefault(result.variant, {})[result.seed] = result
    study, methods = group[1], [r for r in members if r.role == "method"]
    placed = sorted(methods if study and methods else members, key=lambda r: r.position)
    points = {r.variant: r.point for r in placed}
    metrics = _metrics(members)
    lines = []
    for variants in by_line.values():
        first = next(iter(next(iter(variants.values())).values()))
        at_points = {name: _lookup(variants, name, point) for name, point in points.items()}
        there = {name: list(found.values()) for name, found in at_points.items() if found}
        if there:
            scores = {m: {v: _score(rs, METRICS[m]) for v, rs in there.items() if METRICS[m](rs[0])} for m in metrics}
            lines.append(Line(first.method, first.title, first.role, settings[id(first)], scores, there))
    lines.sort(key=lambda line: (line.role == "method", len(points) - len(line.results), -_mean(line, metrics[0])))
    axes = {axis for point in points.values() for axis in point}
    tuned = searches((x.title, x.settings, record, where) for x in lines for where, record in x.tuned.items())
    notes = [conditions(members, axes), measured(members), environments(members), codes(members), tuned]
    notes += [by_hand((x.title, x.settings, x.given) for x in lines), unproven(members), *failures(results)]
    return Series(*group, points, metrics, tuple(lines), tuple(filter(None, notes)))


def _lookup(variants: Mapping[str, dict[int, Result]], name: str, point: Mapping[str, Any]) -> dict[int, Result]:
    """A line's results at a point; references, measured once for all that a study varies, serve for all its points."""
    if name in variants:
        return variants[name]
    for seeds in variants.values():
        result = next(iter(seeds.values()))
        if result.role != "method" and result.point.items() <= point.items():
            return seeds
    return {}


def _metrics(results: Sequence[Result]) -> tuple[str, ...]:
    held_out = any(set(r.tasks) - set(r.merged) for r in results if r.role == "method")
    names = ("merged tasks", "tasks not merged", "all tasks") if held_out else ("all tasks",)
    return tuple(n for n in (*names, "validation") if any(METRICS[n](r) for r in results))


def _score(results: Sequence[Result], metric: Metric) -> Score:
    seeds = {r.seed: fmean(s.accuracy for s in metric(r).values()) for r in results}
    if max(seeds.values()) - min(seeds.values()) > ROUNDING:
        return Score(seeds, seed_interval(list(seeds.values())), over_seeds=True)
    scores = list(metric(results[0]).values())
    return Score(seeds, average_interval([s.correct for s in scores], [s.total for s in scores]))


def _mean(line: Line, metric: str) -> float:
    return fmean(s.mean for s in line.scores[metric].values()) if line.scores[metric] else 0.0


def values_of(series: Series, axis: str, columns: Iterable[Mapping[Any, float]]) -> list[Any]:
    """The values of an axis that any of the columns (as `across` gives them) has, in the order of the points."""
    there = {value for column in columns for value in column}
    return [v for v in dict.fromkeys(key_of(p[axis]) for p in series.points.values() if axis in p) if v in there]


def key_of(value: Any) -> Any:
    """A value of an axis as tables and pictures name it: a list as text."""
    return "+".join(map(str, value)) if isinstance(value, list) else value


def across(series: Series, line: Line, metric: str, axis: str) -> dict[Any, float]:
    """A line's mean at every value of one axis, over whatever values the other axes take there.

    A line that lacks a point has no mean over it: beside the others' it would be a mean over something else.

    Args:
        series, line, metric: what.
        axis: one of the series' axes.

    Returns:
        value (as text, where it is a list) -> mean accuracy.
    """
    wanted: dict[Any, list[str]] = {}
    for variant, point in series.points.items():
        if axis in point:
            wanted.setdefault(key_of(point[axis]), []).append(variant)
    scores = line.scores[metric]
    return {value: fmean(scores[v].mean for v in vs) for value, vs in wanted.items() if scores.keys() >= set(vs)}


def intervals_of(series: Series, line: Line, metric: str) -> dict[Any, tuple[float, float]]:
    """Where there is but one axis: its value (as `across` has it) -> a line's interval there."""
    (axis,), scores = series.axes, line.scores[metric]
    return {key_of(point[axis]): scores[v].interval for v, point in series.points.items() if v in scores}


def suite_point(point: Mapping[str, Any]) -> str:
    """What of a point is the suite's own variant, as text; the rest is a study's."""
    return ",".join(f"{axis}={key_of(value)}" for axis, value in point.items() if axis in SUITE_AXES)


def chosen(series: Series, line: Line) -> dict[str, str]:
    """The study's point that is best on the validation split, for each of the suite's own variants.

    Args:
        series, line: which.

    Returns:
        the suite's variant as text (empty, if it has but one) -> the best point there; left out where all are equal.
    """
    scores = line.scores.get("validation", {})
    groups: dict[str, list[str]] = {}
    for variant in scores:
        groups.setdefault(suite_point(series.points[variant]), []).append(variant)
    differing = {w: vs for w, vs in groups.items() if len({scores[v].mean for v in vs}) > 1}
    return {where: max(variants, key=lambda v: scores[v].mean) for where, variants in differing.items()}
