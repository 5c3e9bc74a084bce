"""Pictures of series as SVG files, drawn anew only where what they show is something else."""

import hashlib
import json

from mergebench.leaderboard.series import Line, Series

EDITION = 1  # raised when the same numbers are to be drawn otherwise


def series_picture(series: Series, kept: bytes) -> bytes:
    """A series' picture, as SVG whose first line tells what it was drawn from.

    Matplotlib takes a second to load: a picture of the same numbers is kept.

    Args:
        series: to be drawn.
        kept: the file as it was written before; nothing, if it was not.
    """
    first = f"<!-- {_digest(series)} -->\n".encode()
    if kept.startswith(first):
        return kept
    from mergebench.leaderboard.plot import draw, inline_svg

    return first + inline_svg(draw(series)).encode("utf-8", "xmlcharrefreplace")


def _digest(series: Series) -> str:
    lines = [[x.method, x.title, x.role, x.settings, _scores(x), _counts(x)] for x in series.lines]
    inputs = [EDITION, series.name, series.metrics, series.points, lines]
    return hashlib.sha256(json.dumps(inputs, default=repr).encode()).hexdigest()


def _scores(line: Line) -> dict:
    return {
        metric: {variant: [score.mean, *score.interval] for variant, score in scores.items()}
        for metric, scores in line.scores.items()
    }


def _counts(line: Line) -> dict:
    return {
        variant: [[r.seed, {task: score.correct for task, score in r.tasks.items()}] for r in results]
        for variant, results in line.results.items()
    }
