"""Several searches of one method that differ in the seed alone: which of them chooses, and what is told of all."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mergebench.running.chosen import ChosenSettings
from mergebench.tuning.search import Search


def median_study(studies: Sequence[Search], trials: int) -> Search | None:
    """The study whose best trial is the median of the studies' best; of an even number, the lower of the two.

    One study's luck does not decide then: the best of three would be the best of three times as many trials, and told
    as if it were not. Of equals the one of the lower seed chooses.
    Source: Dahl et al., "Benchmarking Neural Network Training Algorithms" (AlgoPerf), arXiv:2306.07179, section 4.4,
    where the median over studies is what a method scores.

    Args:
        studies: of one method.
        trials: of each study so many count.

    Returns:
        None if no trial of that study succeeded; a study that failed counts as the worst.
    """
    ordered = sorted(studies, key=lambda s: (_reached(s, trials), s.seed))
    median = ordered[(len(ordered) - 1) // 2]
    # Of studies that found the same, the first: sorting has put it before its equals, the middle need not be it.
    best = median.best(trials)
    return next(s for s in ordered if (mine := s.best(trials)) and mine.value == best.value) if best else None


def _reached(study: Search, trials: int) -> float:
    """The best value of a study; one that failed has less than any."""
    best = study.best(trials)
    return -1.0 if best is None or best.value is None else best.value


def chosen_settings(studies: Sequence[Search], trials: int) -> ChosenSettings | None:
    """What the median study chose, with the record of all; None as of `median_study`.

    Args:
        studies: of one method.
        trials: of each study so many count.
    """
    median = median_study(studies, trials)
    best = median.best(trials) if median else None
    if median is None or best is None:
        return None
    told = [_brief(study, trials) for study in studies]
    seconds = round(sum(brief["seconds"] for brief in told), 2)
    record = median.record(trials) | {"seconds": seconds, "studies": told}
    values = {name: median.default[name] for name in median.fixed} | best.settings
    # As YAML gives it back: a tuple among what was set is a list then.
    return ChosenSettings.model_validate(json.loads(json.dumps({"settings": values, "search": record})))


def _brief(study: Search, trials: int) -> dict[str, Any]:
    """What is kept of one study."""
    done, best = study.trials[:trials], study.best(trials)
    return {
        "seed": study.seed,
        "trials": len(done),
        "failed": sum(t.error is not None for t in done),
        "default": done[0].value,
        "best": best and best.value,
        "trial": best and best.number,
        "settings": best.settings if best else {},
        "seconds": round(sum(t.seconds for t in done), 2),
    }


def best_so_far(study: Search, trials: int) -> Iterator[float | None]:
    """After each trial the best value until then; None as long as all have failed.

    Args:
        study: a search.
        trials: so many count.
    """
    best: float | None = None
    for trial in study.trials[:trials]:
        value = trial.value
        if value is not None:
            best = value if best is None else max(best, value)
        yield best
