"""Names as people type them: with commas, in any case, as papers print them; what is a file or a value stays whole."""

import pytest
from jsonargparse import ArgumentParser, Namespace

from mergebench.catalogue import registry
from mergebench.cli.command import parsed
from mergebench.cli.names import as_registered, spread
from mergebench.cli.spellings import meant


@pytest.mark.parametrize(("line", "field", "value"), [
    ("run --methods ties,regmean --seeds 0,1,2", "methods", ["ties", "regmean"]),
    ("run --methods ties,regmean --seeds 0,1,2", "seeds", [0, 1, 2]),
    ("run --methods=ties,regmean --out a,b", "methods", ["ties", "regmean"]),
    ("run --methods=ties,regmean --out a,b", "out", "a,b"),
    ("run --methods ties, regmean ,wudi", "methods", ["ties", "regmean", "wudi"]),
    ("run --methods ties --dry-run --only order=1,2 step=3", "only", ["order=1,2", "step=3"]),
    ("run --methods ties --set ties.density=0.1 --seeds 3", "seeds", [3]),
    ("tune ties,dare --trials 3", "methods", ["ties", "dare"]),
    ("tune --trials 3 ties,dare", "methods", ["ties", "dare"]),
    ("tune ties --space scaling=0.1,0.2", "space", ["scaling=0.1,0.2"]),
    ("table --columns tasks,average --rows ties,regmean", "columns", ["tasks", "average"]),
    ("finetune --task digits,signs --templates 'a photo, of a {}'", "task", ["digits", "signs"]),
    ("finetune --task digits,signs --templates 'a photo, of a {}'", "templates", ["a photo, of a {}"]),
    ("compare ties:density=0.1,scaling=0.3 regmean", "ours", "ties:density=0.1,scaling=0.3"),
])  # fmt: skip
def test_a_comma_separates_where_several_names_may_stand(line, field, value):
    import shlex

    words = shlex.split(line)
    assert parsed(words[0], words)[field] == value


def test_a_file_with_a_comma_in_its_name_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine,too.py").touch()
    parser = ArgumentParser()
    parser.add_argument("--methods", nargs="+", type=str)
    assert spread(["run", "--methods", "mine,too.py", "a,b"], parser) == ["run", "--methods", "mine,too.py", "a", "b"]


@pytest.mark.parametrize(("typed", "name"), [
    ("TIES", "ties"), ("RegMean++", "regmean++"), ("RegMean", "regmean"), ("TSV-M", "tsv_m"), ("Iso-C", "iso_c"),
    ("task arithmetic", "task_arithmetic"), ("Task-Arithmetic", "task_arithmetic"), ("Model Stock", "model_stock"),
    ("TIES-Merging", "ties"), ("AdaMerging++", "adamerging++"), ("Iso*", "iso*"), ("ALL", "ALL"), ("tise", "tise"),
])  # fmt: skip
def test_a_method_is_known_in_any_case_and_by_its_title(typed, name):
    config = Namespace(methods=[typed], suite="Tiny-8", zoo="TINY", out="Runs", set=["TIES.density=0.1"])
    as_registered("run", config)
    assert config == Namespace(methods=[name], suite="tiny-8", zoo="tiny", out="Runs", set=["ties.density=0.1"])


def test_what_is_set_of_a_file_s_method_stays():
    config = Namespace(methods=["mine.py:TIES"], set=["TIES.density=0.1"])
    as_registered("run", config)
    assert config.set == ["TIES.density=0.1"]


def test_every_name_means_itself_and_every_title_its_method():
    for name, card in registry.methods().items():
        for typed in (name, card.title, card.title.upper()):
            config = Namespace(method=typed)
            as_registered("run", config)
            assert config.method == name


def test_what_may_mean_two_things_stays_as_it_is():
    assert meant("ab", ["a_b", "a-b"]) == "ab"
    assert meant("a_b", ["a_b", "a-b"]) == "a_b"
    assert meant("A_C", ["a_c", "a-b"]) == "a_c"


def test_verbs_take_such_names(command, mini_suite, tmp_path):
    out = ("--suite", mini_suite, "--out", tmp_path)
    assert command("run", "--methods", "Average,Task Arithmetic", "--seeds", "0,1", *out).status == 0
    assert sorted(path.name.rpartition("-")[0] for path in (tmp_path / "cells" / "mini").glob("*.json")) == [
        "average-s0", "average-s1", "finetuned-s0", "finetuned-s1", "task_arithmetic-s0", "task_arithmetic-s1",
    ]  # fmt: skip
    # Stored results may be of anybody's methods and suites: there what is meant is one of theirs.
    plain = command("compare", "average", "task_arithmetic", "--out", tmp_path)
    assert plain.status == 0
    assert command("compare", "Simple averaging", "Task-Arithmetic", "--out", tmp_path, "--zoo", "FEW").out == plain.out
    shown = command("table", "--out", tmp_path, "--rows", "Simple Averaging", "REFERENCES", "--suite", mini_suite).out
    assert "| Simple Averaging |" in shown and "Task Arithmetic" not in shown
    assert command("leaderboard", "--out", tmp_path, "--suite", "Mini").status == 0
    for name in ("RegMean++", "REGMEAN++"):
        assert command("describe", name).out == command("describe", "regmean++").out
    assert command("describe", "Tiny-8").out == command("describe", "tiny-8").out
    assert "did you mean 'regmean'" in command("describe", "regmeen").err
