"""Suites with variants and studies through the command line: what is run, stored, resumed and shown."""

import csv
import json
import signal

import pytest
from safetensors.torch import load_file

import mergebench.measuring.classifier
import mergebench.training.finetuning
from mergebench.measuring.results import ResultStore
from mergebench.zoo.zoo import Zoo

pytestmark = pytest.mark.usefixtures("few_images")

SUITE = {"title": "few images", "zoo": "tiny", "merge": ["landcover", "digits"]}
SETTINGS = {"regmean": {"samples": 4}, "regmean++": {"samples": 4}}


@pytest.fixture
def run(command, tmp_path):
    """Run with results in `out`; gives the command's outcome."""
    return lambda *arguments: command("run", *arguments, "--out", tmp_path / "out")


@pytest.fixture
def stored(tmp_path):
    """All stored results by (method, variant, seed)."""
    return lambda: {(r.method, r.variant, r.seed): r for r in ResultStore(tmp_path / "out").all()}


def counts(results):
    return {key: {t: s.correct for t, s in r.tasks.items()} for key, r in results.items()}


VARIANTS = {
    "prefixes": ({"prefixes": [1, 2]}, ["tasks=1", "tasks=2"]),
    "held-out": ({"held_out": [["mnist"], ["eurosat"]]}, ["held_out=digits", "held_out=landcover"]),
    "orders": (
        {"orders": {0: [["mnist"], ["eurosat"]], "back": [["eurosat"], ["mnist"]]}},
        ["order=0,step=1", "order=0,step=2", "order=back,step=1", "order=back,step=2"],
    ),
    "corrupted": (
        {"corruptions": {"kinds": ["contrast"], "severities": [5]}},
        ["corruption=clean,severity=0", "corruption=contrast,severity=5"],
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", VARIANTS)
def test_a_suite_is_run_at_every_variant_once_and_shown_as_a_series(kind, run, write, stored, command, tmp_path):
    fields, variants = VARIANTS[kind]
    arguments = ("--methods", "average", "--suite", write("mine", **SUITE, **fields))
    first = run(*arguments)
    assert first.status == 0 and f"{2 * len(variants)} cells computed, 0 reused" in first.out
    results = stored()
    assert set(results) == {(m, v, 0) for m in ("average", "finetuned") for v in variants}
    assert f"0 cells computed, {2 * len(variants)} reused" in run(*arguments).out
    again = command("leaderboard", "--out", tmp_path / "out")
    assert again.status == 0 and "mine on zoo tiny" in again.out and "Simple Averaging" in again.out
    assert "Simple Averaging" in (tmp_path / "out" / "site" / "index.html").read_text()
    written = sorted(p.name for p in (tmp_path / "out" / "series").iterdir())
    assert written == ["mine-tiny.csv", "mine-tiny.md", "mine-tiny.png"]
    rows = list(csv.DictReader((tmp_path / "out" / "series" / "mine-tiny.csv").open()))
    assert sum(int(r["correct"]) for r in rows) == sum(sum(c.values()) for c in counts(results).values())


def test_prefixes_merge_and_evaluate_the_first_tasks(run, write, stored):
    run("--methods", "average", "--suite", write("mine", **SUITE, prefixes=[1, 2]))
    results = stored()
    assert results["average", "tasks=1", 0].merged == list(results["average", "tasks=1", 0].tasks) == ["landcover"]
    # The average of one expert is that expert.
    assert counts(results)["average", "tasks=1", 0] == counts(results)["finetuned", "tasks=1", 0]


def test_held_out_tasks_are_evaluated_but_not_merged(run, write, stored):
    run("--methods", "average", "--suite", write("mine", **SUITE, held_out=[["digits"]]))
    result = stored()["average", "held_out=digits", 0]
    assert result.merged == ["landcover"] and set(result.tasks) == {"landcover", "digits"}
    experts = stored()["finetuned", "held_out=digits", 0]
    assert result.tasks["landcover"].correct == experts.tasks["landcover"].correct
    assert result.tasks["digits"].correct < experts.tasks["digits"].correct


def test_a_merge_is_not_repeated_for_every_corruption_of_the_test_images(run, write, stored):
    suite = {**SUITE, "hyperparameters": {"regmean": {"samples": 4}}, **VARIANTS["corrupted"][0]}
    run("--methods", "regmean", "--suite", write("mine", **suite))
    results = stored()
    clean, contrast = (results["regmean", v, 0] for v in VARIANTS["corrupted"][1])
    assert clean.drawn == contrast.drawn and clean.merge == contrast.merge
    assert clean.data["digits/test"] != contrast.data["digits/test"]
    assert clean.data["digits/calibration"] == contrast.data["digits/calibration"]
    assert sum(s.correct for s in contrast.tasks.values()) < sum(s.correct for s in clean.tasks.values())


def test_the_first_step_is_a_plain_merge_and_a_later_one_continues_it(run, write, stored, command, tmp_path):
    suite = {**SUITE, "merge": ["landcover", "digits", "signs"], "orders": {0: [["landcover", "digits"], ["signs"]]}}
    run("--methods", "average", "--suite", write("mine", **suite))
    path = tmp_path / "step.safetensors"
    chosen = ("--suite", tmp_path / "mine.yaml", "--only", "step=2")
    assert command("merge", "--method", "average", "--output", path, *chosen).status == 0
    experts = {t: load_file(Zoo("tiny").files.root / "experts" / f"{t}.safetensors") for t in suite["merge"]}
    for name, merged in load_file(path).items():
        so_far = (experts["landcover"][name].float() + experts["digits"][name].float()) / 2
        half = (so_far.to(merged.dtype).float() + experts["signs"][name].float()) / 2
        assert (merged.float() - half).abs().max() <= 2e-3 * half.abs().max()
    counted = tmp_path / "counts.json"
    assert command("evaluate", path, *chosen, "--json", counted).status == 0
    tasks = {t: s["correct"] for t, s in json.loads(counted.read_text())["tasks"].items()}
    assert tasks == counts(stored())["average", "order=0,step=2", 0]


@pytest.mark.parametrize(
    ("kind", "wanted", "left"),
    [
        ("orders", ("order=0,back", "step=2"), ["order=0,step=2", "order=back,step=2"]),
        ("corrupted", ("severity=5",), ["corruption=contrast,severity=5"]),
    ],
)
def test_only_leaves_those_variants_and_they_count_the_same(kind, wanted, left, run, write, stored):
    suite = write("mine", **SUITE, **VARIANTS[kind][0])
    done = run("--methods", "average", "--suite", suite, "--only", *wanted)
    assert f"{2 * len(left)} cells computed" in done.out
    # The table of accuracies is what a run is for, however few variants are left.
    assert "Simple Averaging" in done.out.partition("mine on zoo tiny")[2]
    alone = counts(stored())
    assert {v for _, v, _ in alone} == set(left)
    run("--methods", "average", "--suite", suite)
    assert counts(stored()) == counts(stored()) | alone


def test_a_study_varies_what_has_the_hyperparameter_and_references_are_run_once(run, write, stored, few_images):
    suite = write("mine", **SUITE)
    study = {"suite": str(suite), "methods": ["average", "regmean"], "vary": {"samples": [1, 4]}}
    study = write("study", title="t", **study, choose_on_validation=True)
    done = run("--study", study)
    assert done.status == 0 and "5 cells computed" in done.out
    results = stored()
    assert set(results) == {("finetuned", "", 0)} | {
        (m, f"samples={n}", 0) for m in ("average", "regmean") for n in (1, 4)
    }
    for n in (1, 4):
        result = results["regmean", f"samples={n}", 0]
        assert result.hyperparameters["samples"] == n and result.varied == ["samples"]
        assert result.drawn_images == {"digits/calibration": n, "landcover/calibration": n}
        assert {s.total for s in result.validation.values()} == {few_images["validation"]}
        assert results["average", f"samples={n}", 0].varied == []
    assert "0 cells computed, 5 reused" in run("--study", study).out
    assert "chosen on the validation split" in done.out


def test_named_arms_differ_only_in_what_they_say(run, write, stored):
    suite = write("mine", **SUITE)
    points = {
        "plain": {},
        "few": {"hyperparameters": {"alpha": 0.5}, "methods": ["regmean"]},
        "other": {"calibration": {"source": "unrelated"}},
        "first": {"restrict": {"blocks": [0]}},
    }
    study = write(
        "study", title="t", suite=str(suite), methods=["regmean", "regmean++"], hyperparameters=SETTINGS, points=points
    )
    assert run("--study", study).status == 0
    results = stored()
    assert {v for m, v, _ in results if m == "regmean++"} == {"arm=plain", "arm=other", "arm=first"}
    assert {v for m, v, _ in results if m == "regmean"} == {f"arm={p}" for p in points}
    assert results["regmean", "arm=few", 0].hyperparameters["alpha"] == 0.5
    assert results["regmean", "arm=plain", 0].hyperparameters["alpha"] == 0.95
    assert "unrelated/calibration" in results["regmean", "arm=other", 0].data
    assert [results["regmean", f"arm={p}", 0].position for p in points] == [0, 1, 2, 3]


def test_seeds_draw_different_images_and_both_are_kept(run, write, stored):
    suite = write("mine", **SUITE, hyperparameters={"regmean": {"samples": 4}}, prefixes=[2])
    assert run("--methods", "regmean", "--suite", suite, "--seeds", 0, 1).status == 0
    results = stored()
    zero, one = (results["regmean", "tasks=2", s].drawn for s in (0, 1))
    assert set(zero) == set(one) == {"digits/calibration", "landcover/calibration"}
    assert all(zero[name] != one[name] for name in zero)


PLUGIN = """
import os
from mergebench import Needs, merge_method

@merge_method("mine", title="Mine", needs=Needs(base=True))
def mine(pool, *, weight: float = 1.0):
    if os.environ.get("INTERRUPTED") and weight > 0.5:
        raise KeyboardInterrupt
    return pool.map_tensors(lambda base, experts: base + weight * (experts.mean(0) - base))
"""


def test_an_interrupted_study_goes_on_where_it_was(run, write, stored, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(PLUGIN)
    suite = write("mine", **SUITE)
    plugin = f"{tmp_path / 'mine.py'}:mine"
    study = write("study", title="t", suite=str(suite), methods=[plugin], vary={"weight": [0.25, 0.5, 0.75, 1.0]})
    whole = ("--study", study, "--allow-code")
    monkeypatch.setenv("INTERRUPTED", "yes")
    broken = run(*whole)
    assert broken.status == 130 and "finished cells are kept" in broken.err
    kept = counts(stored())
    assert set(kept) == {("finetuned", "", 0), ("mine", "weight=0.25", 0), ("mine", "weight=0.5", 0)}
    monkeypatch.delenv("INTERRUPTED")
    assert "2 cells computed, 3 reused" in run(*whole).out
    ended = counts(stored())
    assert ended == ended | kept and len(ended) == 5


def test_an_interrupt_is_one_wherever_it_comes(command, write, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(mergebench.measuring.classifier.MultiTaskClassifier, "test_step", interrupted)
    done = command("run", "--methods", "average", "--suite", write("mine", **SUITE), "--out", tmp_path / "out")
    assert done.status == 130 and done.err.endswith("finished cells are kept, run again to go on\n")
    monkeypatch.setattr(mergebench.training.finetuning.FineTuning, "training_step", interrupted)
    done = command("finetune", "--task", "digits", "--output", tmp_path / "x.safetensors", "--steps", 2)
    assert done.status == 130 and "with --checkpoints, the same command goes on" in done.err
    assert signal.getsignal(signal.SIGINT) is handler and not (tmp_path / "x.safetensors").exists()


def test_a_sequence_that_lost_a_step_computes_that_step_alone_and_the_same(run, write, stored, tmp_path):
    suite = {**SUITE, "merge": ["landcover", "digits", "signs"], "hyperparameters": {"regmean++": {"samples": 4}}}
    suite["orders"] = {0: [["landcover"], ["digits"], ["signs"]]}
    arguments = ("--methods", "regmean++", "--suite", write("mine", **suite))
    run(*arguments)
    before = counts(stored())
    files = tmp_path.glob("out/cells/mine/regmean++-*.json")
    (lost,) = [p for p in files if json.loads(p.read_text())["point"]["step"] == 3]
    lost.unlink()
    assert "1 cell computed, 5 reused" in run(*arguments).out
    assert counts(stored()) == before
    result = stored()["regmean++", "order=0,step=3", 0]
    # What stands for the two tasks before is given as many images as the new one, drawn evenly from them.
    assert result.drawn_images == {"landcover/calibration": 2, "digits/calibration": 2, "signs/calibration": 4}
    assert result.merged == suite["merge"]
