"""Several searches of one method: the median chooses, and the record holds all."""

from types import SimpleNamespace

import pytest

from mergebench.measuring.results import TaskScore
from mergebench.tuning.search import make_search, run_search
from mergebench.tuning.studies import best_so_far, chosen_settings, median_study
from mergebench.tuning.trials import Trial
from mergebench.tuning.tuning import plan_searches, tune


def study(seed, *correct):
    """A search of trials with so many of 100 right; None: it failed."""
    scored = [{} if c is None else {"t": TaskScore(correct=c, total=100, predictions="")} for c in correct]
    trials = [Trial(number=n, settings={"x": n}, tasks=tasks) for n, tasks in enumerate(scored)]

    def best(count):
        done = [t for t in trials[:count] if t.value is not None]
        return max(done, key=lambda t: t.value) if done else None

    return SimpleNamespace(seed=seed, trials=trials, best=best)


@pytest.mark.parametrize(
    ("bests", "seed"),
    [((50, 70, 60), 2), ((60, 60, 70), 0), ((70, 60, 60), 1), ((60, 60, 50), 0), ((50, 70), 0), ((80, 50, 70, 60), 3)],
)
def test_the_study_with_the_median_best_value_chooses_the_lower_of_two_and_of_equals_the_first(bests, seed):
    assert median_study([study(n, 10, best) for n, best in enumerate(bests)], 2).seed == seed


def test_a_study_of_which_all_failed_is_the_worst():
    assert median_study([study(0, None), study(1, 40), study(2, 60)], 1).seed == 1
    assert median_study([study(0, None), study(1, None), study(2, 60)], 1) is None


def test_only_the_trials_that_were_asked_for_count():
    studies = [study(0, 10, 90), study(1, 20, 20), study(2, 30, 30)]
    assert median_study(studies, 1).seed == 1 and median_study(studies, 2).seed == 2


def test_the_best_so_far_never_falls_and_is_unknown_until_a_trial_succeeds():
    assert list(best_so_far(study(0, None, 40, 30, None, 50), 5)) == [None, 0.4, 0.4, 0.4, 0.5]
    assert list(best_so_far(study(0, 40, 50), 1)) == [0.4]


def test_the_record_holds_every_study_and_speaks_of_the_median_one(evaluated, request_of, store):
    studies = plan_searches(request_of(trials=6, studies=3, seed=4), [request_of().method], store).studies
    (searches,) = studies.values()
    for search in searches:
        run_search(search, 6)
    assert [s.seed for s in searches] == [4, 5, 6] and len({s.path for s in searches}) == 3
    chosen = chosen_settings(searches, 6)
    median = median_study(searches, 6)
    assert chosen.settings == median.best(6).settings
    assert (chosen.search.seed, chosen.search.best) == (median.seed, median.best(6).value)
    assert [(s.seed, s.best, s.trials) for s in chosen.search.studies] == [
        (s.seed, s.best(6).value, 6) for s in searches
    ]
    assert sorted(s.best for s in chosen.search.studies)[1] == chosen.search.best
    assert chosen.search.from_ == {"turn": 0.1}


def test_the_first_study_is_the_search_of_one_study(evaluated, request_of, store):
    tune(request_of(trials=4), store)
    (searches,) = plan_searches(request_of(trials=4, studies=3), [request_of().method], store).studies.values()
    assert [len(s.trials) for s in searches] == [4, 0, 0]
    assert searches[1].key == make_search(request_of(seed=1), store).key


def test_sections_among_what_is_set_come_through_the_file(request_of, store, evaluated):
    fixed = {"start_settings": {"scaling": 0.2}, "mode": "layer"}
    result = tune(request_of(method="svc", trials=2, fixed=fixed), store).results[-1]
    assert result.hyperparameters["start_settings"] == {"scaling": 0.2} and result.tuned["fixed"] == fixed
