"""Tuning of methods with one budget: their studies, one after the other, the file of their choices, its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mergebench.catalogue import discovery, registry
from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.measuring.results import ResultStore
from mergebench.merging.hyperparameters import resolve
from mergebench.merging.method import MethodCard
from mergebench.running.chosen import ChosenSettings, SettingsFile, read_settings, stem, write_settings
from mergebench.running.plan import make_plan
from mergebench.running.planned import RunRequest
from mergebench.running.runner import Summary, run
from mergebench.suites.variant import select_one
from mergebench.tuning.search import (
    Search,
    SearchObserver,
    TuneRequest,
    another_study,
    make_search,
    run_search,
    validation_bench,
)
from mergebench.tuning.studies import chosen_settings
from mergebench.weights.writing import alone, check_writable


@dataclass(frozen=True)
class Programme:
    """What is tuned, checked, with the trials that are done.

    Args:
        request: what was asked for, of all methods.
        studies: method, as it is asked for -> its searches.
        names: method, as it is asked for -> its name.
        nothing: the same of methods without ranges.
        left_out: a sentence for every method that cannot be run on the variant.
        place: the settings file.
        kept: of methods that are not tuned now, what that file holds.
    """

    request: TuneRequest
    studies: Mapping[str, Sequence[Search]]
    names: Mapping[str, str]
    nothing: Mapping[str, str]
    left_out: Sequence[str]
    place: Path
    kept: SettingsFile


@dataclass
class Outcome:
    """What came of it.

    Args:
        summary: the cells of what was chosen.
        chosen: method -> its settings and their record.
        failed: a sentence for every method of which no trial succeeded.
        place: the settings file; None where nothing was chosen.
    """

    summary: Summary
    chosen: dict[str, ChosenSettings] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    place: Path | None = None


def tune(request: TuneRequest, store: ResultStore, observer: SearchObserver | None = None) -> Summary:
    """Search on the validation split, then measure what was chosen on the test split, beside the experts.

    The result is the ordinary cell of the chosen hyper-parameters, and says in `tuned` how they were chosen; where that
    cell is stored already it is reused and gains the record. Trials are kept as they end: the same request goes on
    where it was, and one for more trials, or studies, continues the same searches.

    Args:
        request: what to search.
        store: where results are; the trials lie beside them in `tuning/`, what is chosen in `settings/`.
        observer: told of progress.

    Returns:
        The results of the experts and of the chosen setting.

    Raises:
        MergebenchError: anything unknown or unfitting (nothing has been run or written then), or no trial succeeded.
    """
    outcome = tune_all(plan_searches(request, [request.method], store), store, observer)
    if outcome.failed:
        raise MergebenchError(outcome.failed[0])
    return outcome.summary


def plan_searches(
    request: TuneRequest, methods: Sequence[str], store: ResultStore, write: str | None = None
) -> Programme:
    """Check everything, and read the trials that are done.

    Args:
        request: the budget and conditions of all; its `space` and `fixed` are for one method alone.
        methods: patterns, see `registry.select_methods`.
        store: where results are.
        write: the settings file, in place of `settings/SUITE-ZOO.yaml` in the results' folder.

    Returns:
        What there is to do. Of several methods, those without ranges are listed and those that cannot be run left out.

    Raises:
        MergebenchError: anything unknown, unfitting or broken; of one method also that it has no ranges.
    """
    selected = registry.select_methods(methods)
    cards = [c for c in selected if c.role == "method"] or selected[:1]
    several = len(cards) > 1
    if several and (request.space or request.fixed):
        option = "--space" if request.space else "--set"
        raise HyperparameterError(f"{option} is for one method, not for {len(cards)}; tune that one by itself")
    bench = validation_bench(request)
    variant = select_one(bench.variants, request.only, bench.name)
    studies, names, nothing, left_out = {}, {}, {}, []
    for card in cards:
        called = card.name if card.name in registry.methods() else f"{card.path}:{card.function}"
        lack = bench.lacks(card, variant, _defaults(card))
        if several and lack:
            left_out.append(f"{card.name} is left out: {lack}")
        elif several and not card.ranges:
            nothing[called] = card.name
        else:
            first = make_search(replace(request, method=called), store, bench)
            seeds = range(request.seed + 1, request.seed + request.studies)
            studies[called] = [first, *(another_study(first, seed, store) for seed in seeds)]
            names[called] = card.name
    if not studies:
        told = [*left_out, *(f"{name} has no ranges" for name in nothing.values())]
        raise MergebenchError(f"nothing to tune: {'; '.join(told)}")
    place = Path(write) if write else store.out / "settings" / f"{stem(bench.name, bench.zoo.name, variant.name)}.yaml"
    kept = _kept(place, SettingsFile(suite=bench.name, zoo=bench.zoo.name, variant=variant.name, methods={}))
    check_writable(place)
    return Programme(request, studies, names, nothing, left_out, place, kept)


def _defaults(card: MethodCard) -> dict[str, Any]:
    return resolve(discovery.load_function(card), {})


def _kept(place: Path, mine: SettingsFile) -> SettingsFile:
    """What a settings file holds that is there already; `mine` where there is none.

    Raises:
        MergebenchError: it is none, or another suite's or zoo's.
    """
    if not place.exists():
        return mine
    file = read_settings(place)
    if file.place != mine.place:
        raise MergebenchError(f"{place} holds settings for {file.place}, not {mine.place}; name another file: --write")
    return file


def tune_all(programme: Programme, store: ResultStore, observer: SearchObserver | None = None) -> Outcome:
    """Search method by method, write what was chosen as each has ended, then measure all that was chosen.

    A method of which no trial succeeds costs itself alone.

    Args:
        programme: what to do.
        store: where results are.
        observer: told of progress.

    Raises:
        MergebenchError: a folder that cannot be written.
    """
    observer = observer or SearchObserver()
    request, outcome = programme.request, Outcome(Summary())
    for sentence in programme.left_out:
        observer.tell(sentence)
    for called, studies in programme.studies.items():
        for study in studies:
            run_search(study, request.trials, observer, request.timeout)
        chosen = chosen_settings(studies, request.trials)
        if chosen is None:
            outcome.failed.append(_fruitless(programme.names[called], studies, request.trials))
            observer.fruitless(outcome.failed[-1])
            continue
        outcome.chosen[programme.names[called]] = chosen
        observer.chosen(programme.names[called], chosen.settings, chosen.search.model_dump(by_alias=True))
        _write(programme, outcome.chosen)
        outcome.place = programme.place
    named = [called for called in programme.studies if programme.names[called] in outcome.chosen]
    if named:
        plan = make_plan(
            RunRequest(
                methods=[*named, *programme.nothing],
                suite=request.suite,
                seeds=[request.seed],
                zoo=request.zoo,
                zoo_root=request.zoo_root,
                only=request.only,
                device=request.device,
                allow_code=request.allow_code,
                allow_duplicates=request.allow_duplicates,
                settings=[str(programme.place)],
            )
        )
        outcome.summary = run(plan, store, observer, request.timeout)
    return outcome


def _write(programme: Programme, chosen: Mapping[str, ChosenSettings]) -> None:
    """Write the settings file as it stands when these methods are done, with what is in it by now of all others."""
    place = programme.place
    with alone(place.parent):
        # Read again: another `tune` may have written its choices meanwhile.
        kept = _kept(place, programme.kept)
        methods = dict(sorted({**kept.methods, **chosen}.items()))
        nothing = sorted({*kept.nothing_to_tune, *programme.nothing.values()} - methods.keys())
        write_settings(place, kept.model_copy(update={"methods": methods, "nothing_to_tune": nothing}))


def _fruitless(name: str, studies: Sequence[Search], trials: int) -> str:
    """Why nothing could be chosen, and what to do."""
    failed = [study for study in studies if study.best(trials) is None]
    tried = sum(len(study.trials[:trials]) for study in failed)
    which = f"{name}: all {tried} trials failed" + (
        f" in {len(failed)} of {len(studies)} studies" if len(studies) > 1 else ""
    )
    return f"{which}: {failed[0].trials[0].error}; to try again, delete {' and '.join(str(s.path) for s in failed)}"
