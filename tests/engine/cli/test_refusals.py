"""Bad input: one clear line, status 2, and nothing lost."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from mergebench.catalogue.yaml_files import read_zoo
from mergebench.zoo.zoo import Zoo


@pytest.fixture
def zoo_root(tmp_path):
    """A copy of the tiny zoo's weights that a test may break."""
    return shutil.copytree(Zoo("tiny").files.root, tmp_path / "weights")


def rewrite(path, change):
    state = load_file(path)
    change(state)
    save_file(state, path)


def test_unknown_names_show_the_nearest(refused, mini_suite, tmp_path):
    out = ("--out", tmp_path)
    assert "'regmean'" in refused("run", "--methods", "regmeen", *out)
    assert "'tiny-8'" in refused("run", "--methods", "all", "--suite", "tinny-8", *out)
    assert "'tiny'" in refused("run", "--methods", "all", "--zoo", "tinny", *out)
    assert "'run'" in refused("rnu")
    assert "'digits'" in refused("finetune", "--task", "digit", "--output", tmp_path / "x.safetensors")
    assert "'ties'" in refused("describe", "tiess")
    assert not list(tmp_path.glob("cells/*/*"))


@pytest.mark.long
def test_what_was_meant_otherwise_is_refused_with_what_helps(refused, mini_run, write, tmp_path):
    assert "unexpected 'ties'; methods are named by --methods" in refused("run", "ties")
    assert "unexpected 'y'; see --help" in refused("doctor", "y")
    for verb in (("check",), ("run", "--methods")):
        assert "is named by its file, FILE.py" in refused(*verb, "./median")
    suite = write("mine", title="t", zoo="tiny", merge=["digits", "signs"], hyperparameters={"regmen": {"samples": 3}})
    assert "'regmen', which is no known method; did you mean 'regmean'" in refused(
        "run", "--methods", "average", "--suite", suite
    )
    assert "--output: name a file" in refused("merge", "--method", "average", "--output", "")
    merge = ("merge", "--method", "average", "--output", tmp_path / "merged.safetensors")
    assert "what writes there is named by --logger" in refused(*merge, "--log-folder", tmp_path)
    assert "--format timm, the default, writes any encoder" in refused(*merge, "--format", "hf")
    (tmp_path / "mine.py").write_text("")
    compare = ("compare", "average", "regmean", "--out", mini_run, "--json")
    assert "is there already, and no .json file" in refused(*compare, tmp_path / "mine.py")
    assert "not a .json file; name the submission's JSON" in refused("verify", tmp_path)
    assert str(tmp_path / "runs") in refused("table", "--out", tmp_path / "runs")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ties.densty=0.1", "did you mean 'density'"),
        ("ties.density=much", "density='much' is not a"),
        ("ties.density=1.5", "density=1.5 is not a"),
        ("ties.combine=product", "combine='product'"),
        ("regmean.alpha=0.9", "'regmean', which is not run"),
        ("density=0.1", "METHOD.density=VALUE"),
        ("ties.density", "NAME=VALUE"),
    ],
)
def test_wrong_hyperparameters(refused, tmp_path, setting, told):
    assert told in refused("run", "--methods", "ties", "--set", setting, "--out", tmp_path)


def test_an_expert_of_another_shape_names_tensor_and_both_shapes(refused, zoo_root, tmp_path):
    rewrite(zoo_root / "experts" / "digits.safetensors", lambda s: s.update({"norm.weight": torch.zeros(7)}))
    width = Zoo("tiny").make_empty_encoder().num_features
    line = refused("run", "--methods", "average", "--zoo-root", zoo_root, "--out", tmp_path / "out")
    assert "digits" in line and "'norm.weight'" in line and "(7,)" in line and f"({width},)" in line


def test_an_expert_with_other_names(refused, zoo_root, tmp_path):
    def rename(state):
        state["visual.norm.weight"] = state.pop("norm.weight")

    rewrite(zoo_root / "experts" / "digits.safetensors", rename)
    line = refused("run", "--methods", "average", "--zoo-root", zoo_root, "--out", tmp_path / "out")
    assert "lacks 'norm.weight'" in line


def test_nan_names_file_and_tensor(refused, zoo_root, tmp_path):
    path = zoo_root / "experts" / "digits.safetensors"
    rewrite(path, lambda s: s["cls_token"].flatten()[:1].fill_(float("nan")))
    line = refused("run", "--methods", "average", "--zoo-root", zoo_root, "--out", tmp_path / "out")
    assert str(path) in line and "'cls_token'" in line and "NaN" in line


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s["text_features"].flatten()[:1].fill_(float("nan")), "'text_features' holds 1 values"),
        (lambda s: s.update(projection=s["projection"][:, :-1].contiguous()), "does not fit features of width"),
        (lambda s: s.update(text_features=s["text_features"][:, :-1].contiguous()), "does not fit features of width"),
        (lambda s: s.update(text_features=s["text_features"][:-1].contiguous()), "classes, its card"),
        (lambda s: s.update(logit_scale=torch.ones(128)), "does not fit features of width"),
        (lambda s: s.update(projection=torch.ones(())), "does not fit features of width"),
        (lambda s: s.pop("logit_scale"), "lacks"),
    ],
)
def test_a_head_that_does_not_fit_or_is_not_finite(refused, zoo_root, tmp_path, change, told):
    path = zoo_root / "heads" / "digits.safetensors"
    rewrite(path, change)
    line = refused("run", "--methods", "average", "--zoo-root", zoo_root, "--out", tmp_path / "out")
    assert str(path) in line and told in line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": "/none"}, "no folder of weights at /none; correct weights: in the zoo's file"),
        ({"weights": "nopackage:w"}, "nopackage:w: no package 'nopackage'; write a path, or package:path"),
        ({"encoder": "mergebench.tasks.tiny.model"}, "unknown timm model 'mergebench.tasks.tiny.model'"),
        ({"encoder": "mergebench.tasks.tiny.model:nothing"}, "write module:function"),
        ({"encoder": "nomodule:f"}, "no encoder at 'nomodule:f'"),
    ],
)
def test_a_zoo_that_names_what_is_not_there(refused, write, tmp_path, changes, told):
    zoo = write("mine", **read_zoo("tiny").model_dump(mode="json") | changes)
    assert told in refused("run", "--methods", "average", "--zoo", zoo, "--out", tmp_path / "out")


def test_a_truncated_file(refused, zoo_root, tmp_path):
    path = zoo_root / "experts" / "digits.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "truncated" in refused("run", "--methods", "average", "--zoo-root", zoo_root, "--out", tmp_path / "out")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_with_the_reason(refused, tmp_path, zipped):
    path = tmp_path / "expert.safetensors"
    torch.save({"norm.weight": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    line = refused(
        "merge", "--method", "average", "--base", "tiny", "--experts", path, "--output", tmp_path / "m.safetensors"
    )
    assert "pickle" in line and "run any code" in line
    assert not (tmp_path / "m.safetensors").exists()


def test_a_missing_file_and_a_missing_folder(refused, tmp_path):
    assert "no such checkpoint" in refused("evaluate", tmp_path / "none.safetensors")
    line = refused("run", "--methods", "average", "--zoo-root", tmp_path / "none", "--out", tmp_path / "out")
    assert "no folder of weights" in line


def test_an_out_that_cannot_be_written(refused, mini_suite, tmp_path):
    (tmp_path / "file").write_text("in the way")
    line = refused("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path / "file")
    assert "cannot write" in line and str(tmp_path / "file") in line


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        *[(("merge", "--method", "average"), name) for name in ("model.bin", "model.safetensors.tmp")],
        *[(("finetune", "--task", "digits"), name) for name in ("model.bin", "model", "model.safetensors.tmp")],
    ],
)
def test_an_output_that_could_not_be_read_back(refused, tmp_path, monkeypatch, verb, name):
    monkeypatch.setattr("mergebench.zoo.zoo.Zoo.__init__", lambda *_: pytest.fail("too late"))
    line = refused(*verb, "--output", tmp_path / "out" / name)
    assert f"{name}: weights are written as safetensors; give it a name in .safetensors" in line
    assert not (tmp_path / "out").exists()


def test_broken_suite_files(refused, tmp_path):
    suite = tmp_path / "mine.yaml"
    for text, told in (
        ("title: x\nzoo: tiny\nmerge: [digits, nope]\n", "'nope'"),
        ("title: x\nzoo: tiny\nmerge: []\n", "merge"),
        ("title: x\nzoo: tiny\nmerge: [digits]\nsurprise: 1\n", "surprise"),
        ("title: [x\n", "not valid YAML"),
        ("title: x\nzoo: tiny\nmerge: [digits]\nhyperparameters: {tees: {density: 1}}\n", "'tees'"),
    ):
        suite.write_text(text)
        assert told in refused("run", "--methods", "average", "--suite", suite, "--out", tmp_path / "out")
    assert "no such suite file" in refused("run", "--methods", "average", "--suite", tmp_path / "no.yaml")


def test_a_device_that_is_not_there(refused, mini_suite, tmp_path):
    line = refused("run", "--methods", "average", "--suite", mini_suite, "--out", tmp_path, "--device", "cuda:99")
    assert "cuda:99" in line and "cpu" in line


def test_the_leaderboard_of_nothing(refused, tmp_path):
    assert "no results" in refused("leaderboard", "--out", tmp_path)


def test_methods_that_cannot_be_merged_into_one_file(refused, tmp_path):
    line = refused("merge", "--method", "finetuned", "--output", tmp_path / "m.safetensors")
    assert "finetuned" in line and "one model per task" in line


def test_plugin_files_that_hold_no_method(refused, tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    assert "no function" in refused("run", "--methods", empty, "--out", tmp_path / "out")
    assert "cannot read" in refused("run", "--methods", tmp_path / "none.py", "--out", tmp_path / "out")
    empty.write_text("def f(:\n")
    assert "not valid Python" in refused("run", "--methods", empty, "--out", tmp_path / "out")
    empty.write_text(f"def f():\n    return 1{' + 1' * 100_000}\n")
    for words in (["run", "--methods", empty, "--out", tmp_path / "out"], ["check", empty]):
        assert f"{empty}: nested too deeply to be read; split the expression" in refused(*words)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_any_more_ends_the_command_without_a_word(unbuffered):
    command = [sys.executable, "-m", "mergebench", "describe", "sun397"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
