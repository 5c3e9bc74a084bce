"""The files of a series: its tables in Markdown, its picture, and every count as CSV."""

from pathlib import Path

from mergebench.configuration import file_name
from mergebench.leaderboard.plot import draw, write_png
from mergebench.leaderboard.series import Series
from mergebench.leaderboard.series_table import long_csv, markdown
from mergebench.weights.writing import writing


def write_series(series: Series, folder: Path) -> list[Path]:
    """Write `[<study>-]<suite>-<zoo>` with the endings `.md`, `.png` and `.csv`.

    Args:
        series: what to write.
        folder: where to.

    Returns:
        The files; each appears whole.
    """
    stem = folder / file_name("-".join(filter(None, (series.study, series.suite, series.zoo))))
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "png", "csv")]
    for path, text in ((paths[0], markdown(series)), (paths[2], long_csv(series))):
        with writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_png(draw(series), paths[1])
    return paths
