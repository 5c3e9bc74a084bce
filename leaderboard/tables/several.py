"""Series as grids: numbers of tasks, held-out tasks, corruptions, sequences, a study's points, experts alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from mergebench.leaderboard.matrix import matrices, tasks_of
from mergebench.leaderboard.sequence import transfer
from mergebench.leaderboard.series import Line, Score, Series, key_of
from mergebench.leaderboard.tables.choosing import ALL, Entry, Field, Wishes
from mergebench.leaderboard.tables.draft import draft
from mergebench.leaderboard.tables.grid import Cell, Column, Grid
from mergebench.leaderboard.tracks import GIVEN

CORRUPTED = "Corrupted: the mean over all but clean."
MERGED, UNSEEN = "merged tasks", "tasks not merged"


def scale(series: Series, wishes: Wishes) -> Grid:
    """Methods by the number of tasks merged: each column the average over these."""
    fields = [
        Field(Column(_label(p["tasks"]), "tasks", 1), ("points", "average", str(p["tasks"])), _at(series, [variant]))
        for variant, p in series.points.items()
    ]
    return _grid(series, "average accuracy by number of tasks", fields, ("points",), wishes)


def unseen(series: Series, wishes: Wishes) -> Grid:
    """Methods by held-out tasks: the average over the tasks merged and over those held out, and their means."""
    fields = []
    places = {key_of(point["held_out"]): [variant] for variant, point in series.points.items()}
    for held_out, variants in {**places, "average": list(series.points)}.items():
        group = "all" if held_out == "average" else str(held_out).replace("+", ", ")
        kind = ("average",) if held_out == "average" else ("points", str(held_out))
        for name, metric in (("merged", MERGED), ("unseen", UNSEEN)):
            fields.append(Field(Column(name, group, 1), (*kind, name), _at(series, variants, metric)))
    return _grid(
        series, "accuracy on merged and on unseen tasks, by what is held out", fields, ("points", "average"), wishes
    )


def corruptions(series: Series, wishes: Wishes) -> Grid:
    """Methods by corruption: clean, every corruption (the mean over its severities), and the mean of all corrupted."""
    by_kind: dict[str, list[str]] = {}
    for variant, point in series.points.items():
        by_kind.setdefault(str(point["corruption"]), []).append(variant)
    fields = [Field(Column(kind, "", 1), ("points", kind), _at(series, vs)) for kind, vs in by_kind.items()]
    corrupted = [v for kind, vs in by_kind.items() if kind != "clean" for v in vs]
    fields.append(Field(Column("corrupted", "", 1), ("average",), _at(series, corrupted)))
    severities = sorted({str(p["severity"]) for p in series.points.values() if p["corruption"] != "clean"})
    key = [f"Severity {', '.join(severities)}; where there are several, the mean over them.", CORRUPTED]
    return _grid(series, "accuracy under corruptions", fields, ("points", "average"), wishes, key)


def sequential(series: Series, wishes: Wishes) -> Grid:
    """Methods by step: the average over the tasks merged so far, and what later steps do to earlier tasks."""
    by_step: dict[int, list[str]] = {}
    for variant, point in series.points.items():
        by_step.setdefault(point["step"], []).append(variant)
    metric = MERGED if MERGED in series.metrics else series.metrics[0]
    fields = [
        Field(Column(str(step), "after step", 1), ("points", "average", str(step)), _over_orders(vs, metric))
        for step, vs in by_step.items()
    ]
    for name, better in (("backward", 1), ("forgetting", -1)):
        unit = "points" if name == "backward" else "percent"
        fields.append(Field(Column(name, "", better, unit), ("average", name), _figure(series, name)))
    key = ["After a step: the average over the tasks merged so far, the mean over orders."]
    usual = ("points", "backward", "forgetting")
    return _grid(series, "accuracy as tasks arrive", fields, usual, wishes, key, over="orders")


def points(series: Series, wishes: Wishes) -> Grid:
    """Methods by the points of a series; of two axes the first makes groups."""
    first, *others = series.axes
    fields = []
    for variant, point in series.points.items():
        name = ", ".join(_label(point.get(axis, "-")) for axis in others or [first])
        group = f"{first} {_label(point.get(first, '-'))}" if others else first
        fields.append(Field(Column(name, group, 1), ("points", "average", variant, name), _at(series, [variant])))
    return _grid(series, f"average accuracy by {' and '.join(series.axes)}", fields, ("points",), wishes)


def experts(series: Series, wishes: Wishes) -> list[Grid]:
    """Experts by tasks: what each of them, merged alone, keeps of every task; a grid for every method."""
    grids = []
    for place, matrix in matrices(series).items():
        entries = [Entry(e, e, "method", "", "", {}, {}, None, row) for e, row in matrix.items()]
        fields = [Field(Column(task), ("tasks", task), _of_row(task)) for task in tasks_of(matrix)]
        title = f"{_title(series)}: every expert on every task ({series.lines[place].title} of one expert)"
        given = replace(wishes, order="given", track=ALL)
        name = f"{_name(series)}-{series.lines[place].method}"
        grids.append(draft(name, title, entries, fields, ("tasks",), given, notes=series.notes, stub="expert of"))
    return grids


def _grid(
    series: Series,
    what: str,
    fields: Sequence[Field],
    usual: Sequence[str],
    wishes: Wishes,
    key: Sequence[str] = (),
    over: str = "seeds",
) -> Grid:
    entries = [_entry(series, line) for line in series.lines]
    title = f"{_title(series)}: {what}"
    return draft(_name(series), title, entries, fields, usual, wishes, notes=series.notes, key=key, over=over)


def _name(series: Series) -> str:
    return "-".join(filter(None, (series.study, series.suite, series.zoo)))


def _title(series: Series) -> str:
    return f"{series.study} of {series.suite} on {series.zoo}" if series.study else f"{series.suite} on {series.zoo}"


def _entry(series: Series, line: Line) -> Entry:
    result = next(iter(line.results.values()))[0]
    scores = line.scores[series.metrics[0]]
    average = fmean(s.mean for s in scores.values()) if scores.keys() >= set(series.points) else None
    record = next(iter(line.tuned.values()), {})
    settings, tuned = dict(line.settings), dict(record)
    card = (line.method, line.title, line.role, result.family, result.paper)
    return Entry(*card, settings, tuned, average, line, GIVEN if line.given else "", line.given)


def _label(value: object) -> str:
    return str(key_of(value))


def _at(series: Series, variants: Sequence[str], metric: str = "") -> Callable[[Line], Cell]:
    """A line's mean over some points, with its standard deviation over the seeds; nothing where it lacks one."""
    return lambda line: _mean([line.scores[metric or series.metrics[0]].get(v) for v in variants])


def _mean(scores: Sequence[Score | None]) -> Cell:
    there = [s for s in scores if s is not None]
    if not scores or len(there) < len(scores):
        return Cell()
    seeds = set.intersection(*(set(s.seeds) for s in there))
    runs = [100 * fmean(s.seeds[seed] for s in there) for seed in sorted(seeds)]
    return Cell(100 * fmean(s.mean for s in there), stdev(runs) if len(runs) > 1 else None)


def _over_orders(variants: Sequence[str], metric: str) -> Callable[[Line], Cell]:
    def cell(line: Line) -> Cell:
        found = _mean([line.scores[metric].get(v) for v in variants])
        orders = [100 * line.scores[metric][v].mean for v in variants] if found.value is not None else []
        return Cell(found.value, stdev(orders) if len(orders) > 1 else None)

    return cell


def _figure(series: Series, name: str) -> Callable[[Line], Cell]:
    """The figure of `transfer` with this name, where a line has a single arm."""

    def cell(line: Line) -> Cell:
        arms = list(transfer(series, line).values()) if line.role == "method" else []
        if len(arms) != 1:
            return Cell()
        mean, spread = getattr(arms[0], name)
        return Cell(100 * mean, None if spread is None else 100 * spread)

    return cell


def _of_row(task: str) -> Callable[[Mapping[str, float]], Cell]:
    return lambda row: Cell(100 * row[task]) if task in row else Cell()
