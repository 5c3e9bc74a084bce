"""merge, evaluate, finetune, leaderboard and doctor."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mergebench.cli.doctor import diagnose_import
from mergebench.measuring.results import ResultStore
from mergebench.measuring.trainer import training_precision
from mergebench.merging.layout import Layout
from mergebench.running.chosen import read_settings, shipped
from mergebench.suites.bench import Bench
from mergebench.zoo.zoo import Zoo


def test_a_merged_file_evaluates_to_what_run_measured(mini_run, mini_suite, command, tmp_path):
    merged, counts = tmp_path / "merged.safetensors", tmp_path / "counts.json"
    assert command("merge", "--method", "regmean", "--suite", mini_suite, "--output", merged).status == 0
    assert command("evaluate", merged, "--suite", mini_suite, "--json", counts).status == 0
    result = next(r for r in ResultStore(mini_run).all() if r.method == "regmean")
    measured = {t: c["correct"] for t, c in json.loads(counts.read_text())["tasks"].items()}
    assert measured == {t: s.correct for t, s in result.tasks.items()}


def test_scores_of_tasks_that_a_file_is_not_made_of_are_told_apart(mini_suite, write, command, tmp_path):
    merged, words = tmp_path / "merged.safetensors", ("merge", "--method", "average", "--suite", mini_suite, "--output")
    assert command(*words, merged).status == 0
    assert "its header" not in command("evaluate", merged, "--suite", mini_suite).out
    zoo = str(mini_suite.parent / "few.yaml")
    one = write("one", title="one", zoo=zoo, merge=["digits"])
    assert command("merge", "--method", "average", "--suite", one, "--output", merged).status == 0
    done = command("evaluate", merged, "--suite", mini_suite)
    assert done.out.endswith("its header tells of digits; not of landcover, to be read as unseen tasks' scores\n")

    mine = shutil.copy(Zoo("tiny").files.root / "experts/digits.safetensors", tmp_path / "my_numbers.safetensors")
    files = ("--base", "tiny", "--experts", mine, Zoo("tiny").files.root / "experts/landcover.safetensors")
    assert command("merge", "--method", "average", *files, "--output", merged).status == 0
    assert "its header" not in command("evaluate", merged, "--suite", mini_suite).out, "one is called after its file"


def test_a_file_that_is_there_already_is_named_before_it_is_replaced(mini_suite, command, tmp_path):
    merged, words = tmp_path / "merged.safetensors", ("merge", "--method", "average", "--suite", mini_suite, "--output")
    assert command(*words, merged).err == ""
    done = command(*words, merged)
    assert done.status == 0
    assert f"--output {merged} is there already; what is finished takes its place" in done.err


def test_a_merged_file_carries_its_recipe_and_loads_in_timm(mini_suite, command, tmp_path):
    merged = tmp_path / "merged.safetensors"
    command("merge", "--method", "ties", "--suite", mini_suite, "--output", merged, "--set", "scaling=0.5")
    with safe_open(merged, "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert recipe["method"] == "ties" and recipe["hyperparameters"]["scaling"] == 0.5
    assert set(recipe["experts"]) == {"landcover", "digits"}
    Zoo("tiny").make_empty_encoder().load_state_dict(load_file(merged), strict=True)


def test_it_merges_with_the_settings_that_were_chosen_for_a_suite(command, refused, mini_suite, tmp_path):
    merged = tmp_path / "merged.safetensors"
    merge = ("merge", "--output", merged, "--method")

    def settings():
        with safe_open(merged, "pt") as file:
            return json.loads(file.metadata()["recipe"])["hyperparameters"]

    chosen = read_settings(shipped("tiny-8", "tiny")).methods["ties"].settings
    assert command(*merge, "ties", "--settings", "tuned").status == 0
    assert chosen and chosen.items() <= settings().items()
    assert command(*merge, "ties", "--settings", "published").status == 0
    assert settings() != settings() | chosen
    assert command(*merge, "average", "--settings", "tuned").status == 0, "which has nothing to tune"
    both = refused(*merge, "ties", "--settings", "tuned", "--set", "density=0.5")
    assert "hyper-parameters of 'ties' are both given and chosen" in both
    assert "unknown settings 'publishd'; did you mean 'published'" in refused(*merge, "ties", "--settings", "publishd")
    on_mini = ("--suite", mini_suite, "--settings")
    assert "no chosen settings for mini" in refused(*merge, "ties", *on_mini, "tuned")
    other = tmp_path / "other.yaml"
    other.write_text(shipped("tiny-8", "tiny").read_text())
    assert "settings were chosen for tiny-8" in command(*merge, "ties", *on_mini, other).err
    models = ("--base", merged, "--experts", merged, "--output", tmp_path / "of-own.safetensors")
    own = refused("merge", "--method", "ties", *models, "--settings", other)
    assert "--settings goes with a suite" in own
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from mergebench import merge_method\n\n@merge_method('mine', title='Mine')\ndef mine(pool):\n"
        "    return pool.map_experts(lambda experts: experts.mean(0))\n"
    )
    assert "has no settings of 'mine'" in refused("merge", "--output", merged, "--method", mine, "--settings", "tuned")


@pytest.mark.parametrize(("method", "split"), [("average", ""), ("regmean", "calibration"), ("adamerging", "test")])
def test_a_merged_file_tells_the_images_that_entered_by_their_hashes(mini_suite, command, tmp_path, method, split):
    merged, bench = tmp_path / "merged.safetensors", Bench(str(mini_suite))
    assert command("merge", "--method", method, "--suite", mini_suite, "--output", merged).status == 0
    with safe_open(merged, "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    data = bench.data(bench.variants[0])
    assert recipe["images"] == {f"{t}/{split}": data[f"{t}/{split}"] for t in ("landcover", "digits") if split}


def test_experts_of_ones_own_are_merged(command, tmp_path):
    files = [Zoo("tiny").files.root / "experts" / f"{t}.safetensors" for t in ("digits", "signs")]
    merged = tmp_path / "merged.safetensors"
    experts = ("--experts", f"one={files[0]}", files[1])
    assert command("merge", "--method", "average", "--suite", "tiny-8", *experts, "--output", merged).status == 0
    first, second, mean = load_file(files[0]), load_file(files[1]), load_file(merged)
    for name in mean:
        mid = (first[name].float() + second[name].float()) / 2
        torch.testing.assert_close(mean[name], mid.to(mean[name].dtype))  # the base is in half precision


def test_an_expert_under_a_name_without_images_is_refused_only_where_images_are_needed(refused, tmp_path):
    file = Zoo("tiny").files.root / "experts" / "digits.safetensors"
    experts = ("--suite", "tiny-8", "--experts", f"mine={file}")
    line = refused("merge", "--method", "regmean", *experts, "--output", tmp_path / "m.safetensors")
    assert "'mine'" in line


def test_finetune_writes_an_expert_that_is_better_than_the_base(command, tmp_path):
    expert = tmp_path / "expert.safetensors"
    done = command("finetune", "--task", "digits", "--output", expert, "--steps", 40, "--learning-rate", 5e-4)
    assert done.status == 0
    base, tuned = (float(line.split()[1]) for line in done.out.splitlines() if line.startswith(("base", "expert")))
    assert tuned > base
    assert set(load_file(expert)) == set(Zoo("tiny").base)


def test_finetune_writes_lora_merged_into_the_base_s_weights(command, tmp_path):
    expert, zoo = tmp_path / "expert.safetensors", Zoo("tiny")
    command("finetune", "--task", "digits", "--output", expert, "--steps", 3, "--lora", 2, "--device", "cpu")
    state = load_file(expert)
    assert {n for n in zoo.base if not torch.equal(state[n], zoo.base[n])} <= set(
        Layout(zoo.make_encoder()).linear_weights
    )
    with safe_open(expert, "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert (recipe["lora"], recipe["precision"]) == (2, training_precision("auto", "cpu"))


@pytest.mark.parametrize(
    ("steps", "rate", "told"),
    [(3, 1e30, "the training diverged: "), (1, 1e7, "the expert in the base's number format: ")],
)
def test_weights_that_are_not_finite_are_not_written(steps, rate, told, refused, tmp_path):
    expert = tmp_path / "expert.safetensors"
    expert.write_text("a good one")
    line = refused("finetune", "--task", "digits", "--output", expert, "--steps", steps, "--learning-rate", rate)
    assert told in line and "NaN or infinite; lower" in line
    assert expert.read_text() == "a good one" and list(tmp_path.iterdir()) == [expert]


def test_leaderboard_is_made_again_from_the_files(mini_run, command):
    (mini_run / "site" / "index.html").unlink(missing_ok=True)
    done = command("leaderboard", "--out", mini_run)
    assert done.status == 0 and "RegMean++" in done.out
    assert "RegMean++" in (mini_run / "site" / "index.html").read_text()


@pytest.fixture
def disk(monkeypatch):
    """Sets how much of the disk `doctor` finds free, which is no matter of the code under test."""

    def free(count):
        monkeypatch.setattr("mergebench.cli.doctor.shutil.disk_usage", lambda _: SimpleNamespace(free=count))

    return free


def test_doctor_finds_this_machine_well(command, disk):
    disk(50e9)
    done = command("doctor")
    assert [line for line in done.out.splitlines() if not line.startswith("ok ")] == []
    assert done.status == 0


def test_doctor_says_that_the_disk_is_full_and_looks_at_the_rest(command, disk):
    disk(1.5e9)
    done = command("doctor")
    (wrong,) = [line for line in done.out.splitlines() if not line.startswith("ok ")]
    assert wrong.startswith("wrong   cache: ") and "has 1500 MB free" in wrong and "MERGEBENCH_CACHE" in wrong
    assert done.status == 1 and "zoos" in done.out.splitlines()[-1]


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_doctor_names_the_remedy_for_mismatched_torchvision(name):
    line = diagnose_import(name, RuntimeError("operator torchvision::nms does not exist"))
    assert "pip install torch torchvision in one command" in line


def test_any_verb_names_that_remedy_in_one_line(refused, monkeypatch):
    import mergebench.cli.evaluate

    def broken(config):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(mergebench.cli.evaluate, "execute", broken)
    assert "pip install torch torchvision in one command" in refused("evaluate", "any.safetensors")


def test_a_suite_s_merge_is_recentred_on_its_calibration_images(command, mini_suite, tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in ("plain", "moved")]
    for file, more in zip(files, ([], ["--recentre"]), strict=True):
        done = command("merge", "--method", "average", "--suite", mini_suite, "--output", file, *more)
        assert done.status == 0, done.err
    assert "recentred by norm.bias" in done.out
    plain, moved = map(load_file, files)
    assert [n for n, t in plain.items() if not torch.equal(t, moved[n])] == ["norm.bias"]
