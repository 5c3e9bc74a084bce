"""Settings that searches have chosen: read, refused, and made into cells beside the published ones."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from mergebench.catalogue import registry
from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.measuring.results import ResultStore
from mergebench.running import chosen
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.remembered import recalled, remembering
from mergebench.running.runner import run

pytestmark = pytest.mark.usefixtures("few_images")

STUDY = {
    "seed": 0, "trials": 5, "failed": 0, "default": 0.5, "best": 0.625, "trial": 3, "settings": {"density": 0.05},
    "seconds": 2.0,
}  # fmt: skip
ENTRY = {
    "settings": {"density": 0.05},
    "search": {
        "trials": 5, "failed": 0, "sampler": "TPE", "optuna": "4", "seed": 0, "split": "validation",
        "space": {"density": {"low": 0.01, "high": 1.0, "log": True}}, "fixed": {}, "from": {"density": 0.2},
        "default": 0.5, "best": 0.625, "trial": 3, "seconds": 2.0, "studies": [STUDY],
    },
}  # fmt: skip


@pytest.fixture
def request_of(write):
    suite = write("two", title="t", zoo="tiny", merge=["digits", "signs"])
    return lambda *methods, **fields: RunRequest(methods or ("ties", "average"), suite, **fields)


@pytest.fixture
def settings(tmp_path):
    """Writes a settings file, with changes; gives its place."""

    def make(**changes):
        content = {"suite": "two", "zoo": "tiny", "methods": {"ties": ENTRY}, "nothing_to_tune": ["average"]} | changes
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return make


@pytest.fixture
def install(monkeypatch):
    """Makes a file the installed choices of suite "two" on zoo "tiny"."""
    real = registry.config_files

    def put(path):
        found = {"two-tiny": Path(path)}
        monkeypatch.setattr(registry, "config_files", lambda kind: found if kind == "settings" else real(kind))

    return put


def cells(plan):
    return [(c.card.name, c.hyperparameters.get("density"), dict(c.tuned).get("trials")) for c in plan.cells]


def test_without_a_word_settings_are_the_published_ones(request_of):
    assert cells(make_plan(request_of())) == cells(make_plan(request_of(settings=["published"])))
    assert cells(make_plan(request_of()))[1:] == [("ties", 0.2, None), ("average", None, None)]


def test_chosen_settings_make_cells_that_tell_of_their_search(request_of, settings):
    plan = make_plan(request_of(settings=[settings()]))
    assert cells(plan) == [("finetuned", None, None), ("ties", 0.05, 5), ("average", None, 0)]
    record = plan.cells[1].tuned
    assert record["studies"] == [STUDY] and record["from"] == {"density": 0.2}
    assert (record["suite"], record["zoo"]) == ("two", "tiny")


def test_both_tracks_in_one_run_share_what_is_the_same(request_of, settings):
    plan = make_plan(request_of(settings=["published", settings()], seeds=[0, 1]))
    one = [("finetuned", None, None), ("ties", 0.2, None), ("ties", 0.05, 5), ("average", None, 0)]
    assert cells(plan) == one * 2 and [c.seed for c in plan.cells] == [0] * 4 + [1] * 4
    twice = make_plan(request_of(settings=[settings(), settings(), "published"]))
    assert sorted(cells(twice), key=str) == sorted(one, key=str)


def test_a_remembered_plan_remembers_how_settings_were_chosen_until_the_file_changes(request_of, settings, monkeypatch):
    monkeypatch.setattr("psutil.Process.create_time", lambda self: float("inf"))
    request = request_of(settings=["published", settings()])
    made = remembering(request, make_plan)
    known = recalled(request)
    assert known is not None and [c.tuned for c in known.cells] == [c.tuned for c in made.cells]
    assert any(c.tuned for c in known.cells)
    settings(nothing_to_tune=[])
    assert recalled(request) is None


def test_installed_choices_are_found_by_suite_and_zoo(request_of, settings, install):
    with pytest.raises(MergebenchError, match="no chosen settings for two on zoo tiny; .*tune all --suite two"):
        make_plan(request_of(settings=["tuned"]))
    install(settings())
    assert cells(make_plan(request_of(settings=["tuned"])))[1] == ("ties", 0.05, 5)


def test_where_choices_are_installed_they_are_what_is_run_without_a_word(request_of, settings, install):
    install(settings())
    plan = make_plan(request_of())
    assert cells(plan) == [("finetuned", None, None), ("ties", 0.05, 5), ("average", None, 0)]
    assert not plan.left_out
    assert cells(make_plan(request_of(settings=["published"])))[1:] == [("ties", 0.2, None), ("average", None, None)]


def test_what_the_installed_choices_lack_is_run_as_published_and_told(request_of, settings, install):
    install(settings())
    plan = make_plan(request_of("ties", "dare"))
    assert [(name, trials) for name, _, trials in cells(plan)] == [("finetuned", None), ("ties", 5), ("dare", None)]
    (told,) = plan.left_out
    assert told.startswith("dare: measured with published settings") and "tune dare" in told
    alone = make_plan(request_of("dare"))
    assert not alone.left_out, "there is nothing that it could be mistaken for an equal of"


def test_settings_that_are_given_take_the_place_of_installed_choices(request_of, settings, install):
    install(settings())
    plan = make_plan(request_of(hyperparameters={"ties": {"density": 0.1}}))
    assert cells(plan)[1:] == [("ties", 0.1, None), ("average", None, 0)]
    assert not plan.left_out


def test_what_somebody_gives_is_noted_beside_the_published_values(request_of, write, tmp_path):
    def given(request):
        return {cell.card.name: cell.place.get("given", {}) for cell in make_plan(request).cells}

    by_hand = {"ties": {"density": 0.1, "scaling": 0.3}}  # 0.3 is the published one
    assert given(request_of(hyperparameters=by_hand)) == {"finetuned": {}, "ties": {"density": 0.2}, "average": {}}
    own = write("own", title="t", zoo="tiny", merge=["digits", "signs"], hyperparameters={"ties": {"density": 0.1}})
    asked = replace(request_of(), suite=own, hyperparameters={"ties": {"density": 0.1}})
    assert not given(asked)["ties"], "a suite's exceptions are published with it"
    run(make_plan(request_of("average", hyperparameters={"average": {"weights": [0.25, 0.75]}})), ResultStore(tmp_path))
    (result,) = [r for r in ResultStore(tmp_path).all() if r.method == "average"]
    assert result.given == {"weights": None}


def test_what_a_suite_says_by_now_is_given_by_nobody(request_of, write, tmp_path):
    """The same cell again, once its suite states the value: the note of what was given goes."""
    store = ResultStore(tmp_path)

    def noted(request):
        run(make_plan(request), store)
        return {r.method: r.given for r in store.all()}["average"]

    weights = {"average": {"weights": [0.25, 0.75]}}
    assert noted(request_of("average", hyperparameters=weights)) == {"weights": None}
    suite = request_of("average").suite
    states = {"title": "t", "zoo": "tiny", "merge": ["digits", "signs"], "hyperparameters": weights}
    Path(suite).write_text(yaml.safe_dump(states))
    assert noted(request_of("average")) == {}
    assert noted(request_of("average", hyperparameters=weights)) == {}


def test_a_default_that_is_lowered_is_given_by_nobody_who_says_it(request_of):
    lowered = request_of("regmean", hyperparameters={"regmean": {"samples": 60}})  # as many as there are
    for request, expected in ((lowered, {}), (replace(lowered, hyperparameters={"regmean": {"samples": 30}}), None)):
        cells = [cell for cell in make_plan(request).cells if cell.card.name == "regmean"]
        assert [cell.place["given"] for cell in cells] == [{"samples": 60} if expected is None else expected]


def test_a_stated_value_that_does_not_fit_may_be_replaced(write):
    suite = write("two", title="t", zoo="tiny", merge=["digits", "signs"], hyperparameters={"ties": {"density": 7}})
    plan = make_plan(RunRequest(("ties",), suite, hyperparameters={"ties": {"density": 0.2}}))
    assert [cell.place["given"] for cell in plan.cells if cell.card.name == "ties"] == [{"density": 7}]


def test_a_study_is_run_without_installed_choices(request_of, settings, install, write):
    install(settings())
    study = write("s", title="t", suite=request_of().suite, methods=["ties"], vary={"scaling": [0.5, 1.0]})
    assert {(density, trials) for name, density, trials in cells(make_plan(RunRequest(study=study))) if density} == {
        (0.2, None)
    }


def test_methods_that_the_file_does_not_have_are_left_out_and_told(request_of, settings):
    plan = make_plan(request_of("ties", "dare", settings=[settings()]))
    assert [c.card.name for c in plan.cells] == ["finetuned", "ties"]
    (told,) = [sentence for sentence in plan.left_out if "dare" in sentence]
    assert told.startswith("dare: left out of the tuned settings") and "tune dare" in told
    both = make_plan(request_of("ties", "dare", settings=["published", settings()]))
    assert [c.card.name for c in both.cells] == ["finetuned", "ties", "ties", "dare"]
    with pytest.raises(MergebenchError, match="nothing to run: dare: left out of the tuned settings"):
        make_plan(request_of("dare", settings=[settings()]))


def test_choices_for_methods_that_are_not_known_here_are_told_and_let_be(request_of, settings):
    place = settings(methods={"ties": ENTRY, "tiess": ENTRY}, nothing_to_tune=["average", "mine"])
    plan = make_plan(request_of(settings=[place]))
    assert f"{place} has settings of tiess, mine, which no method here is called" in plan.left_out
    assert len(plan.cells) == 3


def test_choices_of_another_suite_are_used_and_told(request_of, settings):
    plan = make_plan(request_of(settings=[settings(suite="three", variant="tasks=3")]))
    assert "settings were chosen for three, tasks=3 on zoo tiny and are used on two, zoo tiny" in plan.left_out
    assert cells(plan)[1] == ("ties", 0.05, 5)


def test_what_is_given_on_the_command_line_too_is_refused(request_of, settings):
    given = request_of(settings=[settings()], hyperparameters={"ties": {"density": 0.1}})
    with pytest.raises(HyperparameterError, match="of 'ties' are both given and chosen by .*settings.yaml"):
        make_plan(given)
    fine = replace(given, methods=("ties", "dare"), hyperparameters={"dare": {"rate": 0.1}})
    assert cells(make_plan(fine))[1] == ("ties", 0.05, 5)


def test_a_study_has_settings_of_its_own(settings, request_of, write):
    study = write("s", title="t", suite=request_of().suite, methods=["ties"], vary={"density": [0.1, 0.2]})
    with pytest.raises(MergebenchError, match="study 's' has settings of its own; leave out one"):
        make_plan(RunRequest(study=study, settings=[settings()]))
    assert len(make_plan(RunRequest(study=study, settings=["published"])).cells) == 3


def changed(place, value):
    """The entry with another value at a place."""
    content = yaml.safe_load(yaml.safe_dump(ENTRY))
    inner = content
    *way, last = place
    for name in way:
        inner = inner[name]
    inner[last] = value
    return {"methods": {"ties": content}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"methods": {"./mine.py:f": ENTRY}}, "is a file of code; a method is named by its own name here"),
        ({"methods": {"ties": {"settings": {}}}}, "methods.ties.search: Field required"),
        ({"method": {}}, "method: there is no such field; did you mean 'methods'"),
        (changed(["settings", "density"], 0.07), "is not what the study of seed 0 chose"),
        (changed(["settings", "scaling"], 0.5), "settings.scaling: it was neither searched nor set"),
        (changed(["search", "best"], float("nan")), "search.best"),
        (changed(["search", "best"], 1.5), "search.best"),
        (changed(["search", "trials"], 0), "search.trials"),
        (changed(["search", "trial"], 999), "search: of 5 trials trial 999 was the best and 0 failed, which cannot be"),
        (
            changed(["search", "failed"], 999),
            "search: of 5 trials trial 3 was the best and 999 failed, which cannot be",
        ),
        (changed(["search", "space", "density"], {"low": date(2020, 1, 1), "high": 1}), "search.space.density.low"),
        (changed(["search", "space", "density"], [b"\xff", 1]), "search.space.density"),
        (changed(["search", "space", "density"], [float("nan"), 1]), "search.space.density"),
        (changed(["search", "fixed"], {"scaling": date(2020, 1, 1)}), "search.fixed.scaling"),
        (changed(["search", "studies"], []), "search.studies"),
        (changed(["settings", "density"], ["a"]), "is not what the study of seed 0 chose"),
        (changed(["search", "from", "density"], ["a"]), "search.from"),
        ({"suite": 3}, "suite"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line_that_names_it_and_the_place(
    request_of, settings, changes, told
):
    with pytest.raises(MergebenchError) as refusal:
        make_plan(request_of(settings=[settings(**changes)]))
    line = str(refusal.value)
    assert told in line and "settings.yaml" in line and "\n" not in line


def test_values_that_a_method_does_not_take_are_refused_with_the_files_name(request_of, settings):
    content = changed(["settings", "density"], 7.0)["methods"]["ties"]
    content["search"]["studies"][0]["settings"]["density"] = 7.0
    with pytest.raises(HyperparameterError, match=r"settings.yaml: method 'ties': .*density=7.0 is not a"):
        make_plan(request_of(settings=[settings(methods={"ties": content})]))


def test_code_that_a_file_of_choices_names_is_asked_about(request_of, settings):
    content = yaml.safe_load(yaml.safe_dump(ENTRY).replace("density", "start"))
    for entry in (content, content["search"]["studies"][0]):
        entry["settings"] = {"start": "./evil.py:f"}
    place = settings(methods={"svc": content}, nothing_to_tune=[])
    with pytest.raises(MergebenchError, match="names code, ./evil.py:f, which would be run; .*--allow-code"):
        make_plan(request_of("svc", settings=[place]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("methods: [", "is not valid YAML"),
        ("", "settings.yaml"),
        ("- 3", "settings.yaml"),
        ("!!python/object:x.y {}", "YAML"),
    ],
)
def test_what_is_no_such_file_is_refused(request_of, settings, text, told):
    place = settings()
    with open(place, "w") as file:
        file.write(text)
    with pytest.raises(MergebenchError) as refusal:
        make_plan(request_of(settings=[place]))
    assert told in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_with_the_remedy(request_of, tmp_path):
    with pytest.raises(MergebenchError, match="no such settings file: .*none.yaml; `mergebench tune` writes one"):
        make_plan(request_of(settings=[str(tmp_path / "none.yaml")]))


def test_every_installed_file_of_choices_is_whole():
    for path in registry.config_files(chosen.KIND).values():
        file = chosen.read_settings(path)
        assert path.stem == chosen.stem(file.suite, file.zoo, file.variant)
        assert set(file.methods) <= set(registry.methods())
        budgets = {(len(e.search.studies), s.trials) for e in file.methods.values() for s in e.search.studies}
        assert len(budgets) <= 1, "one budget for all"


def test_what_cannot_be_run_lacks_no_search(settings, install, write):
    """Of three experts, a method that merges two: the plan says so, and nobody is told to search its settings."""
    suite = write("two", title="t", zoo="tiny", merge=["landcover", "digits", "signs"])
    install(settings())
    plan = make_plan(RunRequest(("references", "ties", "*slerp", "dare"), suite))
    assert {cell.card.name for cell in plan.cells} >= {"ties", "dare"}
    told = " ".join(plan.left_out)
    assert "slerp merges 2 experts, not 3" in told and "dare: measured with published settings" in told
    assert "tune dare`" in told
