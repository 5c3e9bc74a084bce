"""A series as tables: on a terminal, as Markdown, and every number of it as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from mergebench.errors import on_one_line
from mergebench.leaderboard.formatting import percent
from mergebench.leaderboard.matrix import matrices, tasks_of
from mergebench.leaderboard.media import csv_text, for_markdown
from mergebench.leaderboard.sequence import transfer
from mergebench.leaderboard.series import Line, Score, Series, across, chosen, suite_point, values_of
from mergebench.leaderboard.statistics import Difference, paired_difference
from mergebench.leaderboard.table import make_console

WIDEST = 12  # points that still fit side by side; more are averaged axis by axis


@dataclass(frozen=True)
class Table:
    """A table as text.

    Args:
        title: what it shows.
        header, rows: cells; the first column names the line.
        intervals: whether accuracies stand with half the width of their interval.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    intervals: bool = False


def tables(series: Series) -> list[Table]:
    """All tables of a series: its metrics, then what is special to sequences and to studies over several seeds."""
    found = _matrix_tables(series)
    for metric in series.metrics:
        if metric != "validation":
            by_axis = _axis_tables(series, metric) if len(series.axes) > 1 else []
            few = len(series.points) <= WIDEST
            found += ([_metric_table(series, metric)] if few or not by_axis else []) + by_axis
    extra = (_chosen_table(series), _transfer_table(series), _difference_table(series))
    return found + [table for table in extra if table]


def _point_label(variant: str, axes: Sequence[str]) -> str:
    """A point's name; where there is only one axis, its value alone."""
    return variant.partition("=")[2] if len(axes) == 1 else variant


def _metric_table(series: Series, metric: str) -> Table:
    header = ("method", *(_point_label(v, series.axes) for v in series.points))
    rows = [
        (label, *(_with_interval(line.scores[metric].get(v)) for v in series.points))
        for label, line in zip(series.labels, series.lines, strict=True)
    ]
    axis = series.axes[0] if len(series.axes) == 1 else "point"
    return Table(f"{_heading(metric)} by {axis}", header, tuple(rows), intervals=True)


def _axis_tables(series: Series, metric: str) -> list[Table]:
    found = []
    for axis in reversed(series.axes):
        columns = [across(series, line, metric, axis) for line in series.lines]
        values = values_of(series, axis, columns)
        if len(values) < 2:
            continue
        over = " and ".join(a for a in series.axes if a != axis)
        title = f"{_heading(metric)} by {axis}" + (f" (mean over {over})" if over else "")
        rows = [
            (label, *(percent(column.get(v)) for v in values))
            for label, column in zip(series.labels, columns, strict=True)
        ]
        found.append(Table(title, ("method", *map(str, values)), tuple(rows)))
    return found


def _matrix_tables(series: Series) -> list[Table]:
    found = []
    for place, matrix in matrices(series).items():
        tasks = tasks_of(matrix)
        rows = tuple((expert, *(percent(row.get(t)) for t in tasks)) for expert, row in matrix.items())
        title = f"Every expert on every task ({series.labels[place]} of one expert)"
        found.append(Table(title, ("expert of", *tasks), rows))
    return found


def _chosen_table(series: Series) -> Table | None:
    """What the validation split chooses for each method, and what that gives on the test split."""
    rows: list[tuple[str, ...]] = []
    first: dict[str, Score] = {}
    for label, line in _by_name(series):
        for where, point in chosen(series, line).items():
            validated, tested = line.scores["validation"][point], line.scores[series.metrics[0]][point]
            difference = paired_difference(tested.seeds, first[where].seeds) if where in first else None
            first.setdefault(where, tested)
            told = _told(difference) if difference else ("-", "-", "-")
            rows.append((label, point, percent(validated.mean), _with_interval(tested), *told))
    header = ("method", "chosen", "validation", "test, there", "against the first", "95 % t interval", "p")
    title = "Each method's best point, chosen on the validation split"
    return Table(title, header, tuple(rows), intervals=True) if rows else None


def _transfer_table(series: Series) -> Table | None:
    if not series.sequential:
        return None
    rows = []
    for label, line in zip(series.labels, series.lines, strict=True):
        for arm, figures in (transfer(series, line) if line.role == "method" else {}).items():
            parts = (figures.final, figures.backward, figures.forgetting)
            rows.append((f"{label}, {arm}" if arm else label, *map(_with_spread, parts)))
    header = ("method", "after the last step", "backward transfer", "forgetting")
    title = "After the last step, in points (mean and standard deviation over orders; over seeds, if there is one)"
    return Table(title, header, tuple(rows)) if rows else None


def _difference_table(series: Series) -> Table | None:
    """Every arm against the first arm of the first method, paired by seed; under the same of the suite's variants."""
    metric = series.metrics[0]
    arms = [
        (f"{label}, {_point_label(v, series.axes)}", suite_point(series.points[v]), line.scores[metric][v])
        for label, line in _by_name(series)
        for v in series.points
        if v in line.scores[metric]
    ]
    if not series.study or len(arms) > WIDEST:
        return None
    told = ("seeds", "difference", "95 % t interval", "p")
    first: dict[str, tuple[str, Score]] = {}
    rows = []
    for name, where, score in arms:
        reference, theirs = first.setdefault(where, (name, score))
        difference = paired_difference(score.seeds, theirs.seeds) if reference != name else None
        if difference:
            rows.append((name, reference, str(difference.pairs), *_told(difference)))
    if not rows:
        return None
    if len(first) > 1:
        return Table("Differences, in points, paired by seed", ("arm", "from", *told), tuple(rows))
    title = f"Difference from {arms[0][0]}, in points, paired by seed"
    return Table(title, ("arm", *told), tuple((name, *rest) for name, _, *rest in rows))


def _by_name(series: Series) -> list[tuple[str, Line]]:
    """Lines of methods with their labels, by name: the others are held against the first, whatever the outcome."""
    methods = [(n, x) for n, x in zip(series.labels, series.lines, strict=True) if x.role == "method"]
    return sorted(methods, key=lambda item: (item[1].method, repr(sorted(item[1].settings.items()))))


def _told(difference: Difference) -> tuple[str, str, str]:
    """A difference, its interval and its p value as cells; the latter two only where seeds change anything."""
    mean, (low, high) = f"{100 * difference.mean:+.2f}", difference.interval
    return (mean, f"{100 * low:+.2f} to {100 * high:+.2f}", f"{difference.p:.2g}") if low < high else (mean, "-", "-")


def _heading(metric: str) -> str:
    return {"all tasks": "Average accuracy", "merged tasks": "Average over the tasks merged"}.get(
        metric, "Average over the tasks not merged"
    )


def _with_interval(score: Score | None) -> str:
    """A mean with half the width of its interval."""
    if score is None:
        return "-"
    return f"{100 * score.mean:.1f} ± {100 * (score.interval[1] - score.interval[0]) / 2:.1f}"


def _with_spread(figure: tuple[float, float | None]) -> str:
    mean, spread = figure
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def interval_note(series: Series, shown: Sequence[Table]) -> str:
    """What the intervals in a series' tables mean."""
    if not any(table.intervals for table in shown):
        return "Means over several points stand without interval: the points share their test images."
    scores = [s for line in series.lines for s in line.scores[series.metrics[0]].values()]
    several = sorted({len(s.seeds) for s in scores if s.over_seeds})
    if not several:
        return "± half of the 95 % interval over test images; it does not cover the calibration draw."
    seeds = " to ".join(map(str, dict.fromkeys((several[0], several[-1]))))
    note = f"± half of the 95 % t interval over {seeds} seeds; it does not cover the choice of test images."
    if all(s.over_seeds for s in scores):
        return note
    return f"{note} Where there is one seed, or seeds change nothing: over test images."


def markdown(series: Series) -> str:
    """All tables, as a Markdown page."""
    heading, shown = f"{series.name} (suite {series.suite}, zoo {series.zoo})", tables(series)
    parts = [f"# {for_markdown(heading)}", f"Accuracies in %. {interval_note(series, shown)}"]
    parts += map(for_markdown, series.notes)
    for table in shown:
        lines = [table.header, ("---", *["---:"] * (len(table.header) - 1)), *table.rows]
        escaped = ([for_markdown(cell, cell=True) for cell in line] for line in lines)
        parts += [f"## {for_markdown(table.title)}", "\n".join("| " + " | ".join(line) + " |" for line in escaped)]
    return "\n\n".join(parts) + "\n"


def long_csv(series: Series) -> str:
    """Every count: a row per method, point, seed, split and task."""
    rows = [["method", "settings", *series.axes, "seed", "split", "task", "merged", "correct", "total"]]
    for line in series.lines:
        settings = " ".join(f"{k}={v}" for k, v in line.settings.items())
        for variant, results in line.results.items():
            point = series.points[variant]
            for result in results:
                for split, scores in (("test", result.tasks), ("validation", result.validation)):
                    for task, score in scores.items():
                        where = [point.get(axis, "") for axis in series.axes]
                        count = [task in result.merged, score.correct, score.total]
                        rows.append([line.method, settings, *where, result.seed, split, task, *count])
    return csv_text(rows)


def print_series(series: Series) -> None:
    """Print all tables on the terminal."""
    console, found = make_console(), tables(series)
    study = f" (study on suite {series.suite})" if series.study else ""
    heading = on_one_line(f"{series.name}{study} on zoo {series.zoo}")
    console.print(f"\n{escape(heading)}", style="bold", highlight=False)
    roles = dict(zip(series.labels, (line.role for line in series.lines), strict=True))
    for table in found:
        console.print(f"\n{on_one_line(table.title)}", highlight=False, markup=False)
        shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, name in enumerate(table.header):
            shown.add_column(Text(on_one_line(name)), justify="right" if number else "left", no_wrap=number == 0)
        for row in table.rows:
            style = "dim" if roles.get(row[0], "method") != "method" else None
            shown.add_row(*(Text(on_one_line(cell)) for cell in row), style=style)
        console.print(shown)
    for sentence in (f"Accuracies in %. {interval_note(series, found)}", *series.notes):
        console.print(on_one_line(sentence), highlight=False, markup=False)
