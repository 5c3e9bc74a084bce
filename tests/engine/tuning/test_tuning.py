"""Searches: what they see, what they try, what an interruption costs, and what a result says of them."""

import json
import math
from dataclasses import replace
from statistics import fmean
from types import SimpleNamespace

import pytest

import mergebench.running.execution
import mergebench.suites.bench
from mergebench.data.image_cache import load_split
from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.measuring.results import ResultStore, TaskScore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run
from mergebench.tuning.search import SearchObserver, make_search, propose, run_search
from mergebench.tuning.space import Choices, Interval
from mergebench.tuning.trials import Trial
from mergebench.tuning.tuning import tune
from mergebench.weights.sealed import checksum

pytestmark = pytest.mark.long

BEST = 0.6  # where the made-up accuracy of `dial` is highest


def searched(request, store, observer=None):
    search = make_search(request, store)
    run_search(search, request.trials, observer)
    return search


def told(search):
    """All of a search but what it took, as it stands in its file."""
    stored = json.loads(search.path.read_text())["trials"]
    return [{k: v for k, v in trial.items() if k not in ("merge", "evaluation")} for trial in stored]


def test_the_first_trial_is_the_default_and_the_search_finds_the_optimum(evaluated, request_of, store):
    search = searched(request_of(trials=24), store)
    assert [t.number for t in search.trials] == list(range(24))
    assert search.trials[0].settings == {"turn": 0.1} and search.trials[0].value == 0.5
    assert search.best(24).settings["turn"] == pytest.approx(BEST, abs=0.03)


def test_proposals_learn_from_what_was_tried():
    space = {"turn": Interval(0.0, 1.0), "rank": Interval(1, 64), "mode": Choices(("a", "b"))}

    def value(turn, rank, mode):
        return 1 - abs(turn - 0.6) / 2 - abs(math.log2(rank) - 4) / 12 - 0.2 * (mode == "b")

    early, late = [], []
    for seed in range(4):
        search = SimpleNamespace(seed=seed, space=space, default={"turn": 0.0, "rank": 1, "mode": "b"}, trials=[])
        for number in range(40):
            settings = propose(search)
            score = TaskScore(correct=round(1e6 * value(**settings)), total=10**6, predictions="")
            search.trials.append(Trial(number=number, settings=settings, tasks={"t": score}))
        values = [t.value for t in search.trials]
        early, late = early + values[1:10], late + values[30:]
    assert fmean(late) > fmean(early) + 0.1


def test_the_suites_settings_are_the_default_and_what_is_fixed_stays(evaluated, request_of, store, write):
    given = {"dial": {"turn": 0.25, "steps": 5}}
    suite = write("set", title="t", zoo="tiny", merge=["digits", "signs"], hyperparameters=given)
    search = searched(request_of(suite=suite, trials=3, space={"turn": (0, 0.4)}, fixed={"steps": 6}), store)
    assert search.trials[0].settings == {"turn": 0.25} and search.trials[0].value == pytest.approx(0.9)
    for trial in search.trials:
        value = trial.settings["turn"] * 2
        assert trial.value == pytest.approx(max(0, 1 - abs(value - BEST)), abs=1e-3)


def test_the_default_may_lie_outside_the_space(evaluated, request_of, store):
    search = searched(request_of(trials=15, space={"turn": (0.4, 0.8)}), store)
    assert search.trials[0].settings == {"turn": 0.1}
    assert all(0.4 <= t.settings["turn"] <= 0.8 for t in search.trials[1:])


def test_of_equals_the_first_is_best_so_the_default_stays_unless_something_is_better(evaluated, request_of, store):
    search = searched(request_of(trials=4, space={"turn": [0.1, 0.0]}), store)
    assert search.best(4).number == 0


def test_a_setting_is_not_tried_twice_and_a_search_ends_when_all_were_tried(evaluated, request_of, store):
    search = searched(request_of(trials=8, space={"turn": [0.1, 0.5, 0.3], "mode": ["fair", "odd"]}), store)
    tried = [tuple(t.settings.values()) for t in search.trials]
    assert sorted(tried) == [(turn, mode) for turn in (0.1, 0.3, 0.5) for mode in ("fair", "odd")]
    assert len(evaluated) == 3
    beside = searched(request_of(trials=8, space={"turn": [0.3, 0.5]}), store)
    assert [t.settings["turn"] for t in beside.trials][0] == 0.1 and len(beside.trials) == 3, "and the default"


def test_a_search_that_ends_early_says_so_once(evaluated, request_of, store):
    class Told(SearchObserver):
        def ended(self, search, trials):
            told.append((len(search.trials), trials))

    told = []
    searched(request_of(trials=2, space={"turn": [0.1, 0.5]}), store, Told())
    assert told == []
    searched(request_of(trials=8, space={"turn": [0.1, 0.5]}), store, Told())
    assert told == [(2, 8)]


def test_what_cannot_be_counted_may_come_twice_and_is_not_measured_again(evaluated, request_of, store, monkeypatch):
    monkeypatch.setattr("mergebench.tuning.search.propose", lambda search: {"turn": 0.5})
    search = searched(request_of(trials=3), store)
    assert len(evaluated) == 1
    assert [(t.repeats, t.merge is None) for t in search.trials] == [(None, False), (0, True), (0, True)]


@pytest.fixture
def without_test_split(monkeypatch):
    """Loading a test split is an error; gives the splits that were loaded."""
    loaded = []

    def load(task, split):
        assert split != "test", f"the test split of {task.card.name} is read"
        loaded.append((task.card.name, split))
        return load_split(task, split)

    monkeypatch.setattr(mergebench.suites.bench, "load_split", load)
    return loaded


def test_a_search_scores_on_validation_and_never_reads_the_test_split(evaluated, request_of, store, without_test_split):
    search = searched(request_of(trials=3, space={"turn": (0.0, 0.8)}), store)
    validation = {t: search.bench.split(t, "validation").digest for t in ("digits", "signs")}
    assert evaluated == [validation] * 3
    assert ("digits", "validation") in without_test_split
    assert {n for n in search.key.data if n.endswith("/test")} == set()


def test_a_test_time_method_adapts_on_validation_images_while_it_is_searched(
    evaluated, request_of, store, without_test_split
):
    request = request_of(method="adamerging", trials=1, space={"lr": (1e-4, 1e-1)}, fixed={"steps": 1, "batch_size": 2})
    (trial,) = searched(request, store).trials
    assert trial.error is None and trial.value is not None


class Interrupting(SearchObserver):
    """Presses Ctrl-C when a trial of this number is done."""

    def __init__(self, number):
        self.number = number

    def trial(self, search, trial, stored):
        if trial.number == self.number and not stored:
            raise KeyboardInterrupt


SPACE = {"turn": (0.05, 1.0), "steps": (1, 6), "mode": ["fair", "odd"]}


def test_after_an_interruption_it_goes_on_as_if_there_had_been_none(evaluated, request_of, store, tmp_path):
    request = request_of(trials=16, space=SPACE)
    whole = searched(request, ResultStore(tmp_path / "whole"))
    for number in (2, 12):
        with pytest.raises(KeyboardInterrupt):
            searched(request, store, Interrupting(number))
        assert len(make_search(request, store).trials) == number + 1
    resumed = searched(request, store)
    assert told(resumed) == told(whole) and resumed.path.name == whole.path.name
    assert any(t.error for t in whole.trials) and any(t.value for t in whole.trials)


def test_more_trials_continue_the_same_search_and_fewer_are_its_beginning(evaluated, request_of, store, tmp_path):
    whole = searched(request_of(trials=12), ResultStore(tmp_path / "whole"))
    searched(request_of(trials=8), store)
    scored = len(evaluated)
    longer = searched(request_of(trials=12), store)
    assert told(longer) == told(whole) and len(evaluated) <= scored + 4
    again = searched(request_of(trials=6), store)
    assert len(again.trials) == 12 and again.best(6) == max(again.trials[:6], key=lambda t: t.value or 0)
    assert again.record(6)["trials"] == 6


def test_another_seed_space_fixed_value_or_code_is_another_search(evaluated, request_of, store, tmp_path):
    paths = [
        make_search(request_of(**changes), store).path
        for changes in (
            {},
            {"trials": 5},
            {"seed": 1},
            {"space": {"turn": (0.0, 0.5)}},
            {"space": {"steps": (1, 4)}},
            {"fixed": {"steps": 4}},
        )
    ]
    source = (tmp_path / "dial.py").read_text()
    (tmp_path / "dial.py").write_text(source + "\n# said\n")
    paths.append(make_search(request_of(), store).path)
    (tmp_path / "dial.py").write_text(source + "\nCHANGED = True\n")
    paths.append(make_search(request_of(), store).path)
    assert paths[0] == paths[1] == paths[-2] and len(set(paths)) == 6
    first, other = (searched(request_of(trials=3, seed=s), store) for s in (0, 1))
    assert first.trials[1].settings != other.trials[1].settings


class Listener(SearchObserver):
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def tell(self, sentence):
        self.told.append(sentence)


def again(request, store, path, content):
    """A search whose file holds something else now: what is told, and whether all is kept and found anew."""
    before = told(SimpleNamespace(path=path))
    path.write_text(content)
    listener = Listener()
    assert make_search(request, store).trials == []
    assert path.read_text() == content, "what only looks moves nothing"
    search = searched(request, store, listener)
    assert told(search) == before
    assert (store.out / "set-aside" / path.parent.name / path.name).read_text() == content
    (sentence,) = listener.told
    assert sentence.startswith(f"{path} is set aside: ") and sentence.endswith("; the search begins anew")
    return sentence


def test_a_damaged_file_of_trials_is_told_kept_and_begun_again(evaluated, request_of, store):
    request = request_of(trials=3)
    path = searched(request, store).path
    assert "it is no record of a search" in again(request, store, path, path.read_text()[:100])


def test_a_file_of_trials_that_was_changed_is_told_kept_and_begun_again(evaluated, request_of, store):
    request = request_of(trials=3)
    path = searched(request, store).path
    history = json.loads(path.read_text())
    next(iter(history["trials"][0]["tasks"].values()))["correct"] = 1000
    assert "its checksum is another's" in again(request, store, path, json.dumps(history))


def test_another_search_s_file_of_trials_is_told_kept_and_begun_again(evaluated, request_of, store):
    request = request_of(trials=3)
    other = searched(request_of(trials=3, seed=5), store).path.read_text()
    assert "it is another search's record" in again(request, store, searched(request, store).path, other)


def test_trials_from_before_there_was_a_checksum_are_used_and_said_to_be(evaluated, request_of, store):
    request = request_of(trials=3)
    path = searched(request, store).path
    history = json.loads(path.read_text())
    del history["checksum"]
    path.write_text(json.dumps(history))
    listener = Listener()
    search = searched(replace(request, trials=4), store, listener)
    assert len(search.trials) == 4 and "from before records of searches held proof" in listener.told[0]
    assert json.loads(path.read_text())["checksum"] and not make_search(request, store).told


@pytest.mark.parametrize("settings", [{"turn": 9.0}, {"turn": "./evil.py:f"}, {"turn": 0.5, "mode": "odd"}, {}])
def test_a_file_of_trials_with_settings_that_were_not_asked_for_is_begun_again(evaluated, request_of, store, settings):
    request = request_of(trials=3, space={"turn": (0.0, 0.9)})
    search = searched(request, store)
    before, history = told(search), json.loads(search.path.read_text())
    history["trials"][2] |= {"settings": settings, "tasks": history["trials"][1]["tasks"]}
    history["checksum"] = checksum(history)
    search.path.write_text(json.dumps(history))
    assert make_search(request, store).trials == []
    assert told(searched(request, store)) == before


def test_a_trial_that_fails_is_recorded_with_its_reason_and_costs_itself_alone(evaluated, request_of, store):
    search = searched(request_of(trials=12, space={"turn": (0.8, 1.0)}), store)
    failed = [t for t in search.trials if t.error]
    assert failed and all(t.settings["turn"] > 0.9 and "NaN or infinite" in t.error for t in failed)
    well = [t for t in search.trials if not t.error]
    assert len(well) > 1 and all(t.settings["turn"] <= 0.9 for t in well)
    record = search.record(12)
    assert (record["trials"], record["failed"]) == (12, len(failed))


def test_a_default_that_fails_does_not_end_the_search(evaluated, request_of, store):
    search = searched(request_of(trials=8, space={"mode": ["fair", "odd"]}, fixed={"turn": 0.5}), store)
    assert not search.trials[0].error
    search = searched(request_of(trials=6, space={"turn": (0.1, 0.5)}, fixed={"mode": "odd"}), store)
    assert {t.error for t in search.trials} == {"OSError: jammed"} and search.best(6) is None
    with pytest.raises(MergebenchError, match="all 6 trials failed: .*jammed; to try again, delete "):
        tune(request_of(trials=6, space={"turn": (0.1, 0.5)}, fixed={"mode": "odd"}), store)
    assert not list(store.all())


def results_of(store):
    return {r.method: r for r in store.all()}


def test_what_is_chosen_is_measured_as_a_cell_that_says_how_it_was_chosen(evaluated, request_of, store):
    request = request_of(trials=12, fixed={"steps": 3})
    ceiling, result = tune(request, store).results
    search = make_search(request, store)
    best = search.best(12)
    assert (ceiling.method, ceiling.tuned, result.method) == ("finetuned", {}, "dial")
    assert result.hyperparameters == {"turn": best.settings["turn"], "steps": 3, "mode": "fair"}
    test = {t: load_split(mergebench.suites.bench.registry.tasks()[t], "test").digest for t in ("digits", "signs")}
    assert evaluated[-1] == test and evaluated[-1] != evaluated[0]
    expected = {
        "trials": 12,
        "failed": sum(t.error is not None for t in search.trials),
        "sampler": "TPE",
        "seed": 0,
        "split": "validation",
        "space": {"turn": {"low": 0.0, "high": 1.0, "log": False}},
        "fixed": {"steps": 3},
        "default": 0.5,
        "best": best.value,
        "trial": best.number,
    }
    assert {k: result.tuned[k] for k in expected} == expected and result.tuned["seconds"] > 0
    stored = results_of(store)["dial"]
    proof = {"cell": stored.cell, "checksum": stored.checksum}
    written = result.model_copy(update=proof).model_dump()  # without where the file lies
    assert stored.model_dump() == written, "what is read back is what was written, and its proof"


def test_an_ordinary_cell_of_the_same_settings_gains_the_record_and_keeps_it(evaluated, request_of, store):
    request = request_of(trials=1)  # the default alone
    plan = make_plan(RunRequest([request.method], request.suite))
    run(plan, store)
    before = results_of(store)["dial"]
    assert before.tuned == {}
    summary = tune(request, store)
    gained = results_of(store)["dial"]
    assert summary.reused == 2 and len(list(store.all())) == 2
    assert gained.started == before.started and gained.tuned["trials"] == 1
    assert gained.tuned["best"] == gained.tuned["default"] == 0.5
    assert run(plan, store).reused == 2
    assert results_of(store)["dial"].tuned == gained.tuned
    tune(replace(request, trials=2, space={"turn": [0.1, 0.05]}), store)
    assert results_of(store)["dial"].tuned["trials"] == 2, "the last search tells"


def test_a_method_without_ranges_is_refused_with_the_remedy(request_of, store, tmp_path):
    with pytest.raises(HyperparameterError, match="'plain' has no ranges to search: .*--space NAME=LOW:HIGH.*weight"):
        make_search(request_of(method=f"{tmp_path / 'dial.py'}:plain"), store)
    assert not store.out.exists()


def test_of_several_variants_one_must_be_chosen(evaluated, request_of, store, write):
    suite = write("several", title="t", zoo="tiny", merge=["digits", "signs", "scenes"], prefixes=[2, 3])
    with pytest.raises(MergebenchError, match="suite 'several': 2 variants left; choose one, as --only tasks=2"):
        make_search(request_of(suite=suite), store)
    search = searched(request_of(suite=suite, only={"tasks": ["3"]}, trials=1), store)
    assert set(search.trials[0].tasks) == {"digits", "signs", "scenes"}


def test_validation_images_are_clean_unless_methods_see_the_corruption(evaluated, request_of, store, write):
    corruptions = {"kinds": ["contrast"], "severities": [5]}
    for corrupted in (False, True):
        suite = write(
            f"c{corrupted}", title="t", zoo="tiny", merge=["digits", "signs"], corruptions=corruptions,
            calibration={"corrupted": corrupted},
        )  # fmt: skip
        only = {"corruption": ["contrast"], "severity": ["5"]}
        search = searched(request_of(suite=suite, only=only, trials=1), store)
        clean = search.bench.split("digits", "validation").digest
        assert (evaluated[-1]["digits"] != clean) is corrupted
