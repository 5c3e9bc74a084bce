"""Variants and studies: the verbs on one variant, lists and descriptions, and what is refused, each in one line."""

import json
import re

import pytest
from safetensors.torch import load_file

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_study, read_suite
from mergebench.suites.bench import Bench
from mergebench.suites.variant import as_text
from mergebench.zoo.zoo import Zoo

SUITE = {"title": "t", "zoo": "tiny", "merge": ["landcover", "digits"]}
STUDY = {"title": "t", "methods": ["regmean"]}
CORRUPTED = {"corruptions": {"kinds": ["contrast"], "severities": [1, 5]}}
ORDERED = {"orders": {0: [["landcover"], ["digits"]], 1: [["digits"], ["landcover"]]}}


def test_merge_and_evaluate_take_one_variant(write, command, refused, tmp_path):
    suite = write("mine", **SUITE, prefixes=[1, 2])
    path = tmp_path / "one.safetensors"
    line = refused("merge", "--method", "average", "--suite", suite, "--output", path)
    assert "2 variants left" in line and "--only tasks=1" in line
    assert command("merge", "--method", "average", "--suite", suite, "--only", "tasks=1", "--output", path).status == 0
    expert = load_file(Zoo("tiny").files.root / "experts" / "landcover.safetensors")
    assert all((tensor == expert[name]).all() for name, tensor in load_file(path).items())
    assert "2 variants left" in refused("evaluate", path, "--suite", suite)
    shown = command("evaluate", path, "--suite", suite, "--only", "tasks=1").out
    assert shown.split()[0] == "landcover" and "digits" not in shown


def test_experts_of_ones_own_are_merged_in_the_suites_region(write, command, tmp_path):
    suite = write("mine", **SUITE, restrict={"blocks": [0]}, hyperparameters={"regmean": {"samples": 4}})
    files = [f"{t}={Zoo('tiny').files.root / 'experts' / t}.safetensors" for t in SUITE["merge"]]
    made = []
    for extra in ((), ("--experts", *files)):
        path = tmp_path / f"{len(extra)}.safetensors"
        done = command("merge", "--method", "regmean", "--suite", suite, "--output", path, *extra)
        assert done.status == 0, done.err
        made.append(load_file(path))
    assert all((tensor == made[1][name]).all() for name, tensor in made[0].items())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--methods", "average", "--suite", "unsen"), "unknown suite 'unsen'; did you mean 'unseen'"),
        (("--methods", "average", "--suite", "unseen", "--zoo", "tinny"), "unknown zoo 'tinny'; did you mean 'tiny'"),
        (("--study", "alhpa"), "unknown study 'alhpa'; did you mean 'alpha'"),
        (("--study", "none.yaml"), "no such study file: none.yaml"),
        (("--suite", "unseen"), "--methods"),
        (("--study", "alpha", "--set", "regmean.alpha=0.5"), "regmean.alpha is what the study varies"),
        (("--study", "alpha", "--only", "alpha=0.52"), "unknown alpha '0.52'; did you mean '0.5'"),
        (("--study", "alpha", "--only", "alhpa=0.5"), "'alhpa'; did you mean 'alpha'"),
        (("--study", "alpha", "--only", "alpha"), "--only alpha: write AXIS=VALUE"),
        (("--study", "alpha", "--only", "=1"), "--only =1: write AXIS=VALUE"),
        (("--study", "region", "--only", "restrict.blocks=middel"), "'middel'; did you mean 'middle'"),
        (("--study", "alpha", "--methods", "regmen"), "unknown method 'regmen'; did you mean 'regmean'"),
        (("--study", "alpha", "--methods", "average"), "no method of this run has a hyper-parameter 'alpha'"),
    ],
)
def test_what_a_command_line_asks_for_must_exist(refused, tmp_path, arguments, told):
    assert told in refused("run", *arguments, "--out", tmp_path / "out")
    assert not list(tmp_path.glob("out/cells/*/*"))


@pytest.mark.parametrize(
    ("fields", "only", "told"),
    [
        ({"merge": ["landcover", "diggits"]}, (), ("'diggits'", "'digits'")),
        ({"merge": ["landcover", "mnits"]}, (), ("'mnits'", "'mnist'")),
        ({"merge": 400}, (), ("400", "'tiny'")),
        ({"prefixes": [1, 3]}, (), ("prefixes", "3", "2")),
        ({"prefixes": [0]}, (), ("prefixes", "0")),
        ({"held_out": [["signs"]]}, (), ("held_out", "'signs'", "landcover, digits")),
        ({"held_out": [["landcover", "digits"]]}, (), ("held_out", "every task")),
        ({"orders": {0: [["landcover"], ["digit"]]}}, (), ("'digit'", "'digits'")),
        ({"orders": {0: [["landcover"], ["eurosat"]]}}, (), ("'landcover'", "twice", "order 0")),
        ({"orders": {0: [["landcover"], []]}}, (), ("orders", "without tasks")),
        ({"corruptions": {"kinds": ["contrst"], "severities": [1]}}, (), ("'contrst'", "'contrast'")),
        ({"corruptions": {"kinds": ["contrast"], "severities": [6]}}, (), ("severities", "6", "5")),
        ({"corruptions": {"kinds": [], "severities": [1]}}, (), ("kinds",)),
        ({**CORRUPTED, "prefixes": [1]}, (), ("prefixes and corruptions",)),
        ({"calibration": {"source": "unrelatd"}}, (), ("'unrelatd'", "'unrelated'")),
        ({"restrict": {"blocks": [99]}}, (), ("no block 99", "0 to ")),
        ({"restrict": {"blocks": "middel"}}, (), ("restrict", "middle")),
        ({"restrict": {"component": "atention"}}, (), ("restrict.component", "'attention'")),
        (ORDERED, ("--only", "order=7"), ("unknown order '7'", "0, 1")),
        (ORDERED, ("--only", "step=3"), ("unknown step '3'", "1, 2")),
        (ORDERED, ("--only", "ordr=1"), ("'ordr'", "'order'")),
        (CORRUPTED, ("--only", "severity=3"), ("unknown severity '3'", "0, 1, 5")),
        (CORRUPTED, ("--only", "corruption=contrst"), ("unknown corruption 'contrst'", "'contrast'")),
        ({}, ("--only", "step=1"), ("'step'",)),
    ],
)
def test_what_a_suite_asks_for_must_exist(refused, write, tmp_path, fields, only, told):
    suite = write("mine", **{**SUITE, **fields})
    line = refused("run", "--methods", "average", "--suite", suite, *only, "--out", tmp_path / "out")
    assert all(part in line for part in told), line
    assert not list(tmp_path.glob("out/cells/*/*"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"vary": {"alhpa": [0.5]}}, ("'alhpa'", "'alpha'")),
        ({"vary": {"alpha": [1.5]}}, ("alpha=1.5", "'regmean'")),
        ({"vary": {"alpha": []}}, ("alpha",)),
        ({"vary": {"alpha": "each"}}, ("alpha",)),
        ({"vary": {"calibraton.source": ["own"]}}, ("'calibraton.source'", "'calibration.source'")),
        ({"vary": {"calibration.sorce": ["own"]}}, ("calibration.sorce", "calibration.source")),
        ({"vary": {"calibration.source": ["own", "unrelatd"]}}, ("'unrelatd'", "'unrelated'")),
        ({"vary": {"restrict.blocks": [[0], [99]]}}, ("no block 99", "0 to ")),
        ({"vary": {"restrict.component": ["atention"]}}, ("restrict.component", "'attention'")),
        ({"points": {"x": {"hyperparameters": {"alhpa": 1}}}}, ("'alhpa'", "'alpha'")),
        ({"points": {"x": {"methods": ["regmen"]}}}, ("'regmen'", "'regmean'")),
        ({"points": {"x": {"restrict": {"blocks": "low"}}}}, ("points.x.restrict", "early")),
        ({"points": {"x": {}}, "vary": {"alpha": [1]}}, ("vary", "points")),
        ({}, ("vary", "points")),
        ({"points": {"x": {}}, "suite": "tiny-88"}, ("'tiny-88'", "'tiny-8'")),
        ({"points": {"x": {}}, "methods": []}, ("methods",)),
        ({"points": {"x": {}}, "hyperparameters": {"regmen": {}}}, ("'regmen'",)),
        ({"points": {"x": {}}, "hyperparameters": {"regmean": {"alhpa": 1}}}, ("'alhpa'", "'alpha'")),
        ({"points": {"x": {}}, "surprise": 1}, ("surprise",)),
    ],
)
def test_what_a_study_asks_for_must_exist(refused, write, tmp_path, fields, told):
    suite = str(write("mine", **SUITE))
    line = refused("run", "--study", write("study", **{**STUDY, "suite": suite, **fields}), "--out", tmp_path / "out")
    assert all(part in line for part in told), line
    assert not list(tmp_path.glob("out/cells/*/*"))


@pytest.mark.parametrize("text", ["title: [x\n", "a: b: c\n", "\tx: 1\n"])
def test_a_study_that_is_not_yaml_is_refused_by_its_path(refused, tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert f"{path} is not valid YAML" in refused("run", "--study", path, "--out", tmp_path / "out")


@pytest.mark.parametrize("text", ["", "just words\n", "- a\n- list\n"])
def test_a_study_that_is_no_mapping_is_refused_by_its_path(refused, tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert str(path) in refused("run", "--study", path, "--out", tmp_path / "out")


def test_classes_and_shuffled_images_together_are_refused_or_heeded(command, write, tmp_path):
    # What is dealt out at random must not quietly be of all classes where one was asked for.
    drawn = []
    for name, calibration in (("all", {}), ("one", {"classes": [0]})):
        suite = write(name, **SUITE, calibration={"source": "shuffled", **calibration})
        path = tmp_path / f"{name}.safetensors"
        done = command("merge", "--method", "regmean", "--set", "samples=2", "--suite", suite, "--output", path)
        drawn.append(load_file(path) if done.status == 0 else done.err)
    assert not isinstance(drawn[0], str)
    assert isinstance(drawn[1], str) or any((t != drawn[1][n]).any() for n, t in drawn[0].items())


@pytest.mark.parametrize("what", ["studies", "suites", "corruptions"])
def test_a_list_has_a_line_for_everything_registered(command, what):
    known = list(registry.corruptions() if what == "corruptions" else registry.config_files(what))
    done = command("list", what)
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["name", *known]


def test_a_list_of_nothing_in_particular_says_what_can_be_listed(command):
    done = command("list")
    listed = dict(line.split() for line in done.out.splitlines()[1:])
    assert (done.status, done.err, done.out.split()[:3]) == (0, "", ["what", "how", "many"])
    assert listed.keys() == {"methods", "suites", "studies", "zoos", "tasks", "corruptions"}
    assert listed["methods"] == str(len(registry.methods())) and listed["zoos"] == str(
        len(registry.config_files("zoos"))
    )


@pytest.mark.parametrize("what", [(), ("methods",), ("tasks",)])
def test_a_list_may_be_read_by_a_script(command, what):
    found = json.loads(command("list", *what, "--format", "json").out)
    shown = command("list", *what).out.splitlines()
    assert [next(iter(row.values())) for row in found] == [line.split()[0] for line in shown[1:]]
    assert all(row.keys() == found[0].keys() for row in found) and " ".join(found[0]) == " ".join(shown[0].split())


@pytest.mark.parametrize("name", [*registry.config_files("suites"), *registry.config_files("studies")])
def test_a_description_begins_with_the_title_and_names_all_that_varies(command, name):
    done = command("describe", name)
    assert done.status == 0
    text = " ".join(done.out.split())
    if name in registry.config_files("suites"):
        suite = read_suite(name)
        assert text.startswith(f"{name}: {suite.title}")
        parts = [t for groups in suite.orders.values() for group in groups for t in group]
        parts += [as_text(value) for variant in Bench(name).variants for value in variant.point.values()]
        parts += suite.corruptions.kinds if suite.corruptions else []
    else:
        study = read_study(name)
        assert text.startswith(f"{name}: {study.title}")
        parts = [*study.methods, *study.vary, *study.points, study.suite]
        parts += [as_text(v) for values in study.vary.values() for v in (values if values != "each" else [values])]
    assert all(part in text for part in parts)


def test_a_file_of_ones_own_is_described_by_what_it_holds(command, write):
    suite = write("mine", **SUITE, held_out=[["landcover"], ["mnist"]])
    told = command("describe", suite).out
    assert told.startswith(f"{suite}: t\n") and "axis held_out  landcover digits" in told
    assert f"--suite {suite} --only held_out=digits" in told
    study = write("study", suite=suite, **STUDY, vary={"restrict.blocks": [[0, 1], "late"]})
    assert "axis restrict.blocks  0+1 late" in command("describe", study).out
    zoo = write("zoo", title="Z", encoder="m:f", weights="w", mean=[0, 0, 0], std=[1, 1, 1], tasks=["digits"])
    assert command("describe", zoo).out.startswith(f"{zoo}: Z\n")


def test_a_dry_run_counts_the_cells_and_leaves_no_trace(command, write, tmp_path):
    suite = write("mine", **SUITE, prefixes=[1, 2])
    study = write("study", **STUDY, suite=suite, vary={"alpha": [0.5, 0.9]})
    asked, out = ("run", "--study", study, "--only", "tasks=1", "alpha=0.9"), ("--out", tmp_path / "out")
    told = command("run", "--study", study, "--dry-run", *out)
    assert told.status == 0 and not (tmp_path / "out").exists()
    headline, *methods, variants, time, end = told.out.splitlines()
    assert time == "how long it takes is not known: nothing like it has been run into this folder"
    assert headline == "study on mine: 6 cells (6 to compute), 2 tasks, on cpu" and end == "nothing was run"
    assert methods[0].split() == ["finetuned", "2", "cells", "(2", "to", "compute)"]
    assert methods[1].split()[:8] == ["regmean", "4", "cells", "(4", "to", "compute)", "alpha=0.5,0.9", "samples=256"]
    assert variants == "4 variants: tasks=1,alpha=0.5; tasks=2,alpha=0.5; tasks=1,alpha=0.9; tasks=2,alpha=0.9"
    assert command(*asked, "--set", "regmean.samples=2", *out).status == 0
    told = command(*asked, "--set", "regmean.samples=2", "--dry-run", *out)
    assert "2 cells (0 to compute)" in told.out and "1 variant: tasks=1,alpha=0.9" in told.out
    assert "before" not in told.out
    told = command(*asked, "--methods", "regmean", "ties", "--set", "regmean.samples=3", "--dry-run", *out)
    assert re.search(
        r"^about \d+ s for 1 of 2 cells, the others not being known, by what such cells took", told.out, re.M
    )


def test_a_dry_run_refuses_what_a_run_refuses(refused, tmp_path):
    assert "unknown alpha" in refused("run", "--study", "alpha", "--only", "alpha=2", "--dry-run", "--out", tmp_path)


FAILING = """
from mergebench import Needs, merge_method

@merge_method("mine", title="Mine", needs=Needs())
def mine(pool, *, weight: float = 1.0):
    if weight > 0.5:
        raise ValueError(f"cannot read [/tmp/x], weight [of {weight}]")
    return pool.map_experts(lambda experts: experts.mean(0))
"""


@pytest.mark.parametrize("weights", [[0.5, 1.0], [1.0]])
def test_an_arm_that_fails_costs_itself_alone_and_its_reason_is_told_in_full(command, write, tmp_path, weights):
    (tmp_path / "mine.py").write_text(FAILING)
    suite = write("mine", title="t", zoo="tiny", merge=["landcover"])
    study = write("study", title="t", suite=str(suite), methods=[f"{tmp_path}/mine.py"], vary={"weight": weights})
    done = command("run", "--study", study, "--allow-code", "--out", tmp_path / "out")
    assert done.status == 1
    shown = " ".join(done.out.split())
    told = shown.count("cannot read [/tmp/x], weight [of 1.0]")
    assert told == 2 + (len(weights) > 1)  # as it happens, beside the table if there is one, and at the end
    assert "failed: mine (weight=1.0, seed 0)" in shown
    assert (tmp_path / "out" / "site" / "index.html").exists()
