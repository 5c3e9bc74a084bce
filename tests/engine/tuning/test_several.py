"""Many methods with one budget: what is searched, what is listed, what a failure costs, and the file of choices."""

import json
from dataclasses import replace

import pytest
import yaml

from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.measuring.results import ResultStore
from mergebench.running.chosen import read_settings
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run
from mergebench.tuning.search import SearchObserver
from mergebench.tuning.tuning import plan_searches, tune_all

pytestmark = pytest.mark.long

ALWAYS_BROKEN = '''

@merge_method("broken", title="Broken", needs=Needs(base=True), ranges={"by": (0.1, 1.0)})
def broken(pool: ModelPool, *, by: float = 0.5):
    """nothing"""
    raise OSError("snapped")
'''


@pytest.fixture
def file(request_of, tmp_path):
    """The methods' file: dial, plain without ranges, and one that always fails."""
    request_of()
    path = tmp_path / "dial.py"
    path.write_text(path.read_text() + ALWAYS_BROKEN)
    return str(path)


def everything(request, file, store, observer=None, **options):
    return tune_all(plan_searches(request, [file], store, **options), store, observer)


class Listener(SearchObserver):
    """Keeps what it is told, and presses Ctrl-C once when so many trials were run."""

    def __init__(self, stop=None):
        self.run, self.told, self.stop = [], [], stop

    def trial(self, search, trial, stored):
        if not stored:
            self.run.append((search.card.name, search.seed, trial.number))
            if len(self.run) == self.stop:
                raise KeyboardInterrupt

    def fruitless(self, reason):
        self.told.append(reason)


def test_all_have_one_budget_what_has_no_ranges_is_listed_and_what_fails_costs_itself(
    evaluated, request_of, store, file
):
    listener = Listener()
    outcome = everything(request_of(trials=5, studies=3), file, store, listener)
    asked = {(method, seed): 5 for method in ("dial", "broken") for seed in range(3)}
    assert {key: sum((m, s) == key for m, s, _ in listener.run) for key in asked} == asked
    (told,) = outcome.failed
    assert listener.told == [told]
    assert told.startswith("broken: all 15 trials failed in 3 of 3 studies: OSError: snapped; to try again, delete ")
    written = read_settings(outcome.place)
    assert (written.suite, written.zoo, list(written.methods)) == ("two", "tiny", ["dial"])
    assert written.nothing_to_tune == ["plain"] and written.methods == outcome.chosen
    results = {r.method: r for r in outcome.summary.results}
    assert set(results) == {"finetuned", "dial", "plain"} and not outcome.summary.failed
    assert results["dial"].hyperparameters["turn"] == outcome.chosen["dial"].settings["turn"]
    assert len(results["dial"].tuned["studies"]) == 3 and results["dial"].tuned["suite"] == "two"
    assert results["plain"].tuned == {"trials": 0, "trial": 0, "default": None, "best": None}
    assert results["finetuned"].tuned == {}


def test_what_was_cut_off_anywhere_goes_on_and_gives_the_same(evaluated, request_of, tmp_path, file):
    request = request_of(trials=4, studies=2)
    whole = everything(request, file, ResultStore(tmp_path / "whole"))
    store = ResultStore(tmp_path / "parts")
    for stop in (3, 2, 6):
        with pytest.raises(KeyboardInterrupt):
            everything(request, file, store, Listener(stop))
    listener = Listener()
    parts = everything(request, file, store, listener)
    assert len(listener.run) == 16 - 11
    for name, chosen in whole.chosen.items():
        ours = parts.chosen[name]
        assert ours.settings == chosen.settings
        assert [(s.best, s.settings) for s in ours.search.studies] == [
            (s.best, s.settings) for s in chosen.search.studies
        ]


def test_the_file_gives_the_very_cells_that_tuning_measured(evaluated, request_of, store, file):
    request = request_of(trials=5)
    outcome = everything(request, file, store)
    asked = RunRequest([f"{file}:dial", f"{file}:plain"], request.suite, settings=[str(outcome.place)])
    assert run(make_plan(asked), store).reused == 3


def test_other_methods_choices_stay_in_the_file_and_another_suites_are_not_touched(
    evaluated, request_of, store, file, write
):
    first = everything(request_of(trials=3), f"{file}:dial", store)
    other = first.place.read_text().replace("  dial:", "  ties:")
    first.place.write_text(other)
    second = everything(request_of(trials=3), f"{file}:dial", store)
    assert list(read_settings(second.place).methods) == ["dial", "ties"]
    suite = write("three", title="t", zoo="tiny", merge=["digits", "signs", "scenes"])
    apart = everything(request_of(trials=2, suite=suite), f"{file}:dial", store)
    assert apart.place != first.place
    with pytest.raises(MergebenchError, match="holds settings for two on zoo tiny, not three .*another file: --write"):
        everything(request_of(trials=2, suite=suite), f"{file}:dial", store, write=str(first.place))


class Meanwhile(SearchObserver):
    """Does something when so many trials were run, as another process might in the same folder."""

    def __init__(self, after, act):
        self.told, self.after, self.act = [], after, act

    def trial(self, search, trial, stored):
        self.told.append((trial.number, stored))
        if len(self.told) == self.after:
            self.act()


def test_two_at_once_on_one_file_of_choices_keep_each_others(evaluated, request_of, store, file):
    def another():
        everything(request_of(trials=2, space={"weight": (0.1, 0.9)}), f"{file}:plain", store)

    outcome = everything(request_of(trials=3), f"{file}:dial", store, Meanwhile(1, another))
    assert list(read_settings(outcome.place).methods) == ["dial", "plain"]


@pytest.mark.parametrize(("theirs", "told"), [(5, [True] * 2), (2, [False] * 2)])
def test_two_that_make_one_search_at_once_lose_no_trial(evaluated, request_of, store, tmp_path, file, theirs, told):
    """What the other has tried stands, where it got further; what it has not, is not taken back."""
    alone = everything(request_of(trials=4), f"{file}:dial", ResultStore(tmp_path / "alone"))
    observer = Meanwhile(2, lambda: everything(request_of(trials=theirs), f"{file}:dial", store))
    both = everything(request_of(trials=4), f"{file}:dial", store, observer)
    assert observer.told == list(enumerate([False, False, *told]))
    assert both.chosen["dial"].settings == alone.chosen["dial"].settings
    (path,) = store.out.glob("tuning/*/*.json")
    assert len(json.loads(path.read_text())["trials"]) == max(theirs, 4)


def test_of_one_method_what_cannot_be_tuned_is_refused_of_several_it_is_told(request_of, store, file):
    request = request_of(trials=2)
    with pytest.raises(HyperparameterError, match="'plain' has no ranges to search"):
        plan_searches(request, [f"{file}:plain"], store)
    programme = plan_searches(request_of(suite="tiny-8"), ["slerp", "magmax", "average", "finetuned"], store)
    assert list(programme.names.values()) == ["magmax"] and list(programme.nothing.values()) == ["average"]
    assert programme.left_out == ["slerp is left out: slerp merges 2 experts, not 8"]
    assert not [path for path in store.out.rglob("*") if path.is_file()]


def test_a_choice_that_is_the_default_is_the_defaults_cell(evaluated, request_of, store, file):
    request = request_of(trials=2, space={"turn": [0.1, 0.0]})
    outcome = everything(request, f"{file}:dial", store)
    assert outcome.chosen["dial"].search.trial == 0
    plain = RunRequest([f"{file}:dial"], request.suite)
    plan = make_plan(replace(plain, settings=["published", str(outcome.place)]))
    assert len(plan.cells) == 2 and plan.cells[1].tuned["trial"] == 0
    assert plan.cells[1].key == make_plan(plain).cells[1].key


def test_the_file_is_yaml_that_a_person_can_read(evaluated, request_of, store, file):
    outcome = everything(request_of(trials=3), f"{file}:dial", store)
    content = yaml.safe_load(outcome.place.read_text())
    assert list(content) == ["suite", "zoo", "variant", "methods", "nothing_to_tune"]
    assert set(content["methods"]["dial"]) == {"settings", "search"}
    assert outcome.place.read_text().startswith("# Chosen by `mergebench tune`")
