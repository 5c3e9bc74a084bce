"""The curve of what searches had found after n trials, as files in the run's folder."""

from pathlib import Path

from mergebench.leaderboard.best_of_n import best_csv, draw_best
from mergebench.leaderboard.plot import inline_svg
from mergebench.running.chosen import stem
from mergebench.tuning.studies import best_so_far
from mergebench.tuning.tuning import Programme
from mergebench.weights.writing import writing


def write_best_of_n(programme: Programme, folder: Path) -> list[Path]:
    """Write the curves of all that was searched, as `SUITE-ZOO-best-of-n` with the endings `.csv` and `.svg`.

    Args:
        programme: what was searched.
        folder: where to.

    Returns:
        The files; each appears whole.
    """
    trials, kept = programme.request.trials, programme.kept
    found = [
        (studies[0].card, {study.seed: list(best_so_far(study, trials)) for study in studies})
        for studies in programme.studies.values()
    ]
    named = folder / f"{stem(kept.suite, kept.zoo, kept.variant)}-best-of-n"
    texts = {
        "csv": best_csv({card.name: curves for card, curves in found}),
        "svg": inline_svg(draw_best([(card.title, curves) for card, curves in found])),
    }
    paths = []
    for ending, text in texts.items():
        paths.append(named.with_name(f"{named.name}.{ending}"))
        with writing(paths[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths
