"""A search over a method's own hyper-parameters on the validation split: checked, proposed, tried and kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import itemgetter, or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.trust import check_methods
from mergebench.data.content import Split
from mergebench.errors import MergebenchError, in_words
from mergebench.measuring.keys import CellKey
from mergebench.measuring.measure import resolve_device
from mergebench.measuring.proof import Unproven
from mergebench.measuring.results import ResultStore
from mergebench.measuring.secrets import without_secrets
from mergebench.merging import hyperparameters
from mergebench.merging.method import MethodCard
from mergebench.merging.time_limit import check_limit
from mergebench.running.execution import Executor, Recipe
from mergebench.running.identity import SourceReader
from mergebench.running.observer import Observer
from mergebench.running.plan import check_start, merged_settings
from mergebench.suites.bench import Bench
from mergebench.suites.variant import Variant, select_one
from mergebench.tuning.space import Choices, Interval, Space, make_space, settings_of
from mergebench.tuning.trials import Trial
from mergebench.tuning.trials import read as read_trials
from mergebench.tuning.trials import write as write_trials
from mergebench.weights.writing import alone, check_writable

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod

SAMPLER = "TPE"


@dataclass(frozen=True)
class TuneRequest:
    """What the user asked for.

    Args:
        method: a registered name, or `path/to/file.py:function`.
        suite: a registered suite or a YAML file.
        space: hyper-parameter -> (low, high), or its values; in place of the card's ranges or beside them.
        fixed: hyper-parameter -> value; these are not searched.
        trials: how many settings a study tries, the default one among them.
        studies: how many searches there are, each under a seed of its own.
        seed: the sampler's and the method's; of further studies the numbers behind it.
        zoo, zoo_root: in place of the suite's zoo, and of that zoo's folder of weights.
        only: axis -> values (as text): of a suite with several variants, the one to tune on.
        device: "auto", "cpu" or "cuda:N".
        timeout: seconds that one merge may take; a trial that takes longer has failed.
        allow_code: whether methods' files may be run that only the suite or the zoo names.
        allow_duplicates: whether one and the same image may be in several splits of a task.
    """

    method: str
    suite: str
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 20
    studies: int = 1
    seed: int = 0
    zoo: str | None = None
    zoo_root: str | None = None
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    device: str = "auto"
    timeout: float | None = None
    allow_code: bool = False
    allow_duplicates: bool = False


class ValidationBench(Bench):
    """A bench on which the validation split takes the test split's place: no search can see the latter.

    A test-time method adapts there on the images on which it is then scored, as it does on the test split.
    """

    def split(self, task: str, name: str, corruption: tuple[str, int] | None = None) -> Split:
        """One split of a task's images; of the test split there are none but those of validation."""
        return super().split(task, "validation" if name == "test" else name, corruption)


@dataclass
class Search:
    """A search that has been checked, with the trials that are done.

    Args:
        card, function: the method.
        bench, variant, device: what is merged and evaluated, and where.
        space: what is searched.
        given: all hyper-parameters that are set: the suite's and the fixed ones.
        fixed: the names of the latter.
        default: all hyper-parameters, resolved, before any search.
        seed: the sampler's and the method's.
        path: the file that keeps the trials.
        key: all that decides what they give.
        trials: those done, in order.
        told: what is to be known of the file that kept them, a sentence.
        aside: moves that file away before another is written in its place; None: it stays.
    """

    card: MethodCard
    function: "MergeMethod"
    bench: ValidationBench
    variant: Variant
    device: str
    space: Space
    given: dict[str, Any]
    fixed: tuple[str, ...]
    default: dict[str, Any]
    seed: int
    path: Path
    key: CellKey
    trials: list[Trial] = field(default_factory=list)
    told: str = ""
    aside: Callable[[Path], None] | None = None

    def asks(self, trial: Trial) -> bool:
        """Whether a trial's settings are of this search."""
        space, settings = self.space, trial.settings
        return settings.keys() == space.keys() and all(
            value in space[name] or value == self.default[name] for name, value in settings.items()
        )

    def hyperparameters(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be given to the method, so that it has these settings."""
        return self.given | {name: value for name, value in settings.items() if value != self.default[name]}

    def best(self, trials: int) -> Trial | None:
        """The best of the first so many trials, of equals the first; None if all failed."""
        done = [(value, t) for t in self.trials[:trials] if (value := t.value) is not None]
        return max(done, key=itemgetter(0))[1] if done else None

    def record(self, trials: int) -> dict[str, Any]:
        """What a result says of the search that chose its hyper-parameters in so many trials.

        `from` has the default values of what was searched, `default` and `best` what these and the chosen ones gave.
        """
        done, best = self.trials[:trials], self.best(trials)
        assert best is not None  # or there is no choice
        return {
            "trials": len(done),
            "failed": sum(t.error is not None for t in done),
            "sampler": SAMPLER,
            "optuna": optuna.__version__,
            "seed": self.seed,
            "split": "validation",
            "space": {name: part.plain() for name, part in self.space.items()},
            "fixed": {name: self.default[name] for name in self.fixed},
            "from": {name: self.default[name] for name in self.space},
            "default": done[0].value,
            "best": best.value,
            "trial": best.number,
            "seconds": round(sum(t.seconds for t in done), 2),
        }


class SearchObserver(Observer):
    """Told of a search, and then of the run of what it chose; does nothing by itself."""

    def search(self, search: Search, trials: int) -> None:
        """It begins, with the trials that were stored."""

    def trial(self, search: Search, trial: Trial, stored: bool) -> None:
        """A trial is done; `stored` if it was so before."""

    def ended(self, search: "Search", trials: int) -> None:
        """A search has ended before so many trials, as there is nothing left to try."""

    def chosen(self, method: str, settings: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """A method's studies have ended, and this is what they chose."""

    def fruitless(self, reason: str) -> None:
        """A method's studies have ended, and nothing could be chosen."""


def validation_bench(request: TuneRequest) -> ValidationBench:
    """The bench that a request's searches share.

    Raises:
        MergebenchError: an unknown suite or zoo, or one that names code which may not be run.
    """
    bench = ValidationBench(request.suite, request.zoo, request.zoo_root, allow_duplicates=request.allow_duplicates)
    check_methods(bench.method_files(), request.allow_code)
    return bench


def make_search(request: TuneRequest, store: ResultStore, bench: ValidationBench | None = None) -> Search:
    """Check everything that was asked for, and read the trials that are done.

    Args:
        request: what to search.
        store: where results are; the trials lie beside them in `tuning/`.
        bench: the one to search on, where there is one already.

    Raises:
        MergebenchError: anything unknown, unfitting or broken, or a folder that cannot be written.
    """
    card = registry.method(request.method)
    function = discovery.load_function(card)
    space = make_space(function, request.space, request.fixed)
    bench = bench or validation_bench(request)
    variant = select_one(bench.variants, request.only, bench.name)
    given = merged_settings(bench, [card], {card.name: request.fixed})[card.name]
    default = hyperparameters.resolve(function, given)
    searched = space.get(card.starts)
    tried = [
        default,
        *(default | {card.starts: start} for start in (searched.values if isinstance(searched, Choices) else ())),
    ]
    for settings in tried:
        check_start(card, settings)
    bench.check_classes(variant)
    lack = bench.lacks(card, variant, default)
    if lack:
        raise MergebenchError(f"nothing to tune: {lack}")
    check_limit(request.timeout)
    device = resolve_device(request.device)
    # Of all methods that a trial may start from: their code, and what they need, are part of what the search gives.
    reader = SourceReader()
    starts = {name: source for settings in tried for name, source in reader.read(card, settings).starts.items()}
    needs = reduce(or_, (registry.needs_of(card, settings) for settings in tried))
    key = CellKey(
        method=card.name,
        source=reader.read(card, default).method,
        starts=starts,
        hyperparameters={
            "default": default,
            "space": {name: part.plain() for name, part in space.items()},
            "sampler": SAMPLER,
            # What has run out of time is not tried again, so that another limit is another search.
            **({"timeout": request.timeout} if request.timeout else {}),
        },
        suite=bench.name,
        study="",
        zoo=bench.zoo.name,
        variant=variant.name,
        conditions=variant.identity | {"zoo": bench.zoo.identity},
        seed=request.seed,
        weights=bench.weights(variant, needs),
        data={name.replace("/test", "/validation"): digest for name, digest in bench.data(variant).items()},
        device=device.partition(":")[0],
    )
    facts = (space, given, tuple(request.fixed), default, request.seed, _place(key, store), key)
    return _recall(Search(card, function, bench, variant, device, *facts), store)


def another_study(search: Search, seed: int, store: ResultStore) -> Search:
    """The same search under another seed, with its own trials; raises as `make_search` does."""
    key = replace(search.key, seed=seed)
    fresh = replace(search, seed=seed, key=key, path=_place(key, store), trials=[], told="", aside=None)
    return _recall(fresh, store)


def _place(key: CellKey, store: ResultStore) -> Path:
    return store.out / "tuning" / store.path(key).relative_to(store.out / "cells")


def _recall(search: Search, store: ResultStore) -> Search:
    """The search, with the trials that are stored of it."""
    path = search.path
    check_writable(path)
    try:
        search.trials, proven = read_trials(path, vars(search.key), search.variant.evaluate, search.asks)
        if not proven:
            search.told = f"{path} is from before records of searches held proof of what they say; it is believed"
    except Unproven as reason:
        search.told, search.aside = f"{path} is set aside: {reason}; the search begins anew", store.set_aside
    return search


def run_search(
    search: Search, trials: int, observer: SearchObserver | None = None, timeout: float | None = None
) -> None:
    """Try settings until there are so many trials, or all that the space holds were tried.

    A trial that fails is recorded and costs itself alone.

    Args:
        search: continued, and written to its file after each trial.
        trials: how many there shall be.
        observer: told of progress.
        timeout: seconds that one merge may take.
    """
    observer = observer or SearchObserver()
    if search.told:
        observer.tell(search.told)
    if search.aside is not None:
        search.aside(search.path)
    observer.search(search, trials)
    for trial in search.trials[:trials]:
        observer.trial(search, trial, stored=True)
    executor = Executor(search.bench, search.device, timeout)
    while len(search.trials) < trials and untried(search) != []:
        trial = _try(search, executor, propose(search))
        executor.forget_scores()
        for added in _kept(search, trial, trials):
            observer.trial(search, added, stored=added is not trial)
    if len(search.trials) < trials:
        observer.ended(search, trials)


def _kept(search: Search, trial: Trial, trials: int) -> list[Trial]:
    """Add a trial to a search and to its file, and give what was added, as far as so many trials are asked for.

    Whoever makes the same search in the same folder, and got further meanwhile, has made this trial too: theirs stand.
    """
    done = len(search.trials)
    with alone(search.path.parent):
        try:
            stored, _ = read_trials(search.path, vars(search.key), search.variant.evaluate, search.asks)
        except Unproven:
            stored = []
        if len(stored) > done:
            search.trials = stored
        else:
            search.trials = [*search.trials, trial]
            write_trials(search.path, vars(search.key), search.trials)
    return search.trials[done:trials]


def _try(search: Search, executor: Executor, settings: dict[str, Any]) -> Trial:
    """Merge and score one setting."""
    number, variant = len(search.trials), search.variant
    same = next((t for t in search.trials if t.settings == settings), None)
    if same:
        return Trial(number=number, settings=settings, tasks=same.tasks, error=same.error, repeats=same.number)
    # Methods may see the corruption that is evaluated only where the suite lets them.
    corruption = variant.corruption if variant.calibration.corrupted else None
    try:
        resolved = hyperparameters.resolve(search.function, search.hyperparameters(settings))
        merged = executor.merge(Recipe(search.card, search.function, resolved, search.seed), variant)
        outcome, cost = executor.evaluate(merged.states, variant.evaluate, "validation", corruption)
    # A method is other people's code: whatever it raises must cost its own trial alone.
    except KeyboardInterrupt:
        raise
    except BaseException as exception:  # noqa: BLE001
        return Trial(number=number, settings=settings, error=without_secrets(in_words(exception)))
    return Trial(number=number, settings=settings, tasks=outcome.scores, merge=merged.cost, evaluation=cost)


def propose(search: Search) -> dict[str, Any]:
    """The settings to try next: the default ones first, then the sampler's.

    A function of the search's seed and of the trials so far and of nothing else, so that a search which goes on after
    an interruption tries what it would have tried without.
    """
    number, space = len(search.trials), search.space
    if number == 0:
        return {name: search.default[name] for name in space}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # its notices of every study and trial say nothing here
    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    distributions = {name: _distribution(part) for name, part in space.items()}
    inside = (t for t in search.trials if all(t.settings[name] in part for name, part in space.items()))
    study.add_trials(_told(trial, distributions) for trial in inside)
    proposed = study.ask(distributions).params
    settings = {name: part.short(proposed[name]) for name, part in space.items()}
    left = untried(search)
    # Where settings can be counted, each is tried once: what would come again makes room for one that did not come.
    return left[seed % len(left)] if left and settings not in left else settings


def untried(search: Search) -> list[dict[str, Any]] | None:
    """The settings of a search's space that it has not tried yet; None where there is no end of them."""
    possible = settings_of(search.space)
    tried = [t.settings for t in search.trials]
    return None if possible is None else [settings for settings in possible if settings not in tried]


def _distribution(part: Interval | Choices) -> BaseDistribution:
    if isinstance(part, Choices):
        return CategoricalDistribution(part.values)
    if isinstance(part.low, int) and isinstance(part.high, int):
        return IntDistribution(part.low, part.high, log=part.log)
    return FloatDistribution(part.low, part.high, log=part.log)


def _told(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A trial as Optuna knows it: to a failed one, as to a pruned one, it prefers any other."""
    outcome = {"state": TrialState.PRUNED} if trial.value is None else {"value": trial.value}
    return create_trial(params=trial.settings, distributions=dict(distributions), **outcome)
