"""The leaderboard as one offline HTML page: no script, font or picture is loaded from anywhere."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mergebench.leaderboard import formatting
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.media import for_page
from mergebench.leaderboard.plot import draw, inline_svg
from mergebench.leaderboard.reported_numbers import agreements
from mergebench.leaderboard.series import Series
from mergebench.leaderboard.series_table import interval_note, tables
from mergebench.weights.writing import writing


def write_page(boards: Sequence[Board], path: str | Path, series: Sequence[Series] = ()) -> Path:
    """Write the page of all boards and series.

    Args:
        boards: in the order to be shown.
        path: the HTML file; it appears whole.
        series: suites with variants, and studies.

    Returns:
        The path.
    """
    environment = Environment(
        loader=PackageLoader("mergebench.leaderboard", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=for_page,
    )
    environment.globals.update(format=formatting, shade=_shade, span=_span, agreements=agreements, zip=zip)
    tabled = [(one, tables(one)) for one in series]
    pictured = [(one, shown, interval_note(one, shown), Markup(inline_svg(draw(one)))) for one, shown in tabled]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = environment.get_template("page.html").render(boards=boards, series=pictured, when=when)
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def _shade(value: float | None, column: Sequence[float]) -> float:
    """How deep to tint a cell, 0 to 1: its place between the worst and the best of the column."""
    if value is None or not column or max(column) == min(column):
        return 0.0
    return (value - min(column)) / (max(column) - min(column))


def _span(row: Row, rows: Sequence[Row]) -> dict[str, float] | None:
    """Where the row's average and interval stand on an axis holding all rows' intervals, in percent of its length."""
    ends = [e for r in rows if r.interval for e in r.interval]
    if row.interval is None:
        return None
    low, length = min(ends), max(max(ends) - min(ends), 1e-9)

    def place(value: float) -> float:
        return round(100 * (value - low) / length, 2)

    return {"low": place(row.interval[0]), "high": place(row.interval[1]), "mean": place(row.average)}
