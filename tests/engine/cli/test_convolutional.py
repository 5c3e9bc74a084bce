"""Encoders of convolutions end to end: fine-tuned, merged, evaluated and put on a board, as vision transformers are."""

import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

ENCODERS = {"ConvNeXt": "test_convnext", "ResNet": "test_resnet"}
TASKS = {"across": lambda x, y, k: (y // (k + 2)) % 2, "down": lambda x, y, k: (x // (k + 2)) % 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two tasks of stripes, two widths each."""
    root, rng = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    for (task, stripes), kind, number in product(TASKS.items(), range(2), range(14)):
        path = root / task / f"width-{kind}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = 160 * stripes(x + number, y + number, 2 * kind)[..., None] + rng.integers(0, 90, (32, 32, 3))
        Image.fromarray(grey.astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope="module", params=ENCODERS)
def made(request, images, tmp_path_factory):
    """A folder with a base of random weights, what `finetune` makes of it, and a suite of both."""
    from mergebench.cli.command import main

    name, folder = ENCODERS[request.param], tmp_path_factory.mktemp(request.param)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = timm.create_model(name, num_classes=0)
    save_file(base.state_dict(), folder / "base.safetensors")
    common = ["--base", folder / "base.safetensors", "--encoder", name, "--encoder-options", "img_size=32"]
    training = ["--steps", 4, "--batch-size", 8, "--learning-rate", 1e-3, "--device", "cpu"]
    for task in TASKS:
        words = ["--task", task, "--data", images / task, "--output", folder / f"{task}.safetensors"]
        assert main([str(w) for w in ("finetune", *words, *common, *training)]) == 0
    tasks = {t: {"data": str(images / t), "head": f"{t}.head.safetensors"} for t in TASKS}
    zoo = {"title": "z", "base": "base.safetensors", "experts": "{task}.safetensors", "tasks": tasks}
    zoo |= {"encoder": name, "options": {"img_size": 32}}
    (folder / "zoo.yaml").write_text(yaml.safe_dump(zoo))
    (folder / "suite.yaml").write_text(yaml.safe_dump({"title": "s", "zoo": "zoo.yaml", "merge": list(TASKS)}))
    return folder, name, images


def test_training_moves_weights_and_statistics(made):
    folder, *_ = made
    base, expert = (load_file(folder / f"{name}.safetensors") for name in ("base", "across"))
    assert base.keys() == expert.keys()
    kernels = [n for n, t in base.items() if t.ndim == 4]
    assert any((expert[n] != base[n]).any() for n in kernels)
    assert all((expert[n] != base[n]).any() for n in base if n.endswith("running_var"))


@pytest.mark.long
def test_a_suite_of_them_is_run_and_put_on_a_board(made, command):
    folder, *_ = made
    done = command(
        "run", "--suite", folder / "suite.yaml", "--methods", "pretrained", "average", "tsv_m", "regmean", "regmean++",
        "lines", "fisher", "--threads", 1, "--out", folder / "runs",
    )  # fmt: skip
    assert done.status == 0, done.err
    for title in ("Pre-trained", "Simple Averaging", "TSV-M", "RegMean", "RegMean++", "LiNeS", "Fisher Merging"):
        assert title in done.out
    assert (folder / "runs" / "site" / "index.html").is_file()


def test_files_are_merged_and_evaluated(made, command, tmp_path):
    folder, name, images = made
    experts = [f"{t}={folder / t}.safetensors" for t in TASKS]
    calibration = [f"{t}={images / t}" for t in TASKS]
    words = ("--base", folder / "base.safetensors", "--experts", *experts, "--calibration", *calibration)
    done = command("merge", "--method", "regmean++", *words, "--output", tmp_path / "merged")
    assert done.status == 0, done.err
    loaded = timm.create_model(f"local-dir:{tmp_path / 'merged'}", pretrained=True)
    written = load_file(tmp_path / "merged" / "model.safetensors")
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, written[key])
    told = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert (told["architecture"], told["pretrained_cfg"]["input_size"]) == (name, [3, 32, 32])
    done = command("evaluate", tmp_path / "merged" / "model.safetensors", "--suite", folder / "suite.yaml")
    assert done.status == 0 and "average" in done.out, done.err
    # What was written is a base like any other, of the size that its configuration says.
    again = command("merge", "--method", "average", "--base", tmp_path / "merged", "--experts",
                    f"a={tmp_path / 'merged'}", f"b={folder / 'across.safetensors'}",
                    "--output", tmp_path / "again.safetensors")  # fmt: skip
    assert again.status == 0, again.err


def test_statistics_are_measured_on_request(made, command, tmp_path):
    folder, name, images = made
    words = ("--suite", folder / "suite.yaml", "--output", tmp_path / "merged.safetensors", "--recalibrate-norms")
    done = command("merge", "--method", "average", *words)
    if name == "test_convnext":
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert "recalibrate-norms: this encoder has no batch norms; leave it out" in done.err
        return
    assert done.status == 0, done.err
    assert "statistics of 15 batch norms measured on" in done.out
    plain = command("merge", "--method", "average", *words[:2], "--output", tmp_path / "plain.safetensors")
    assert plain.status == 0
    found, usual = (load_file(tmp_path / f"{n}.safetensors") for n in ("merged", "plain"))
    moved = {n for n in found if (found[n] != usual[n]).any()}
    assert moved and all("running_" in n or "num_batches" in n for n in moved)
    own = ("--base", folder / "base.safetensors", "--experts", *(folder / f"{t}.safetensors" for t in TASKS))
    none = command("merge", "--method", "average", *own, *words[2:])
    assert none.status == 2 and "--recalibrate-norms needs images: give --calibration" in none.err


def test_what_does_not_fit_is_told_by_name(made, command, tmp_path):
    folder, name, images = made
    base = ("--base", folder / "base.safetensors", "--output", tmp_path / "x.safetensors")
    done = command("merge", "--method", "average", *base, "--experts", folder / "across.safetensors", "--format", "hf")
    assert done.status == 2 and "cannot be written as hf" in done.err
    plain = ("--task", "across", "--data", images / "across", *base, "--steps", 2)
    done = command("finetune", *plain)  # a bare file, and no encoder named
    assert done.status == 2 and "its names do not tell which of timm's; name the encoder" in done.err
    done = command("finetune", *plain, "--encoder", "resnet18")
    assert done.status == 2 and "lacks most of what the encoder that was named has under timm's names" in done.err
    if name == "test_resnet":
        done = command("finetune", *plain, "--encoder", name, "--lora", 2)
        assert done.status == 2 and "lora: a ResNet has no linear layers to be adapted; leave it out" in done.err


def test_what_needs_blocks_is_left_out_where_none_are_known(images, command, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = timm.create_model("test_efficientnet", num_classes=0)
    for name in ("base", *TASKS):
        save_file(base.state_dict(), tmp_path / f"{name}.safetensors")
        save_file({"weight": torch.randn(2, base.num_features), "bias": torch.zeros(2)}, tmp_path / f"{name}.head")
    tasks = {t: {"data": str(images / t), "head": f"{t}.head"} for t in TASKS}
    zoo = {"title": "z", "base": "base.safetensors", "experts": "{task}.safetensors", "tasks": tasks}
    zoo |= {"encoder": "test_efficientnet", "options": {"img_size": 32}}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(zoo))
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"title": "s", "zoo": "zoo.yaml", "merge": list(TASKS)}))
    done = command("run", "--suite", tmp_path / "suite.yaml", "--methods", "all", "--dry-run", "--out", tmp_path / "r")
    assert done.status == 0, done.err
    told = done.out + done.err
    for name in ("regmean++", "featcal", "prodistill", "lines", "esm"):
        assert f"{name} goes through the blocks, and of this encoder none are known that follow each other" in told
    assert "regmean goes" not in told


def test_the_commands_in_the_documentation_run(images, command, tmp_path, monkeypatch):
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    block = re.search(r"<!-- convolutions -->(.*?)<!-- /convolutions -->", text, re.DOTALL)[1]
    lines = re.findall(r"^mergebench (.*)$", block, re.MULTILINE)
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    for there, here in (("shapes", "across"), ("stripes", "down")):
        shutil.copytree(images / here, tmp_path / "images" / there)
    place = tmp_path / "hub" / "timm" / "resnet18.a1_in1k"
    place.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = timm.create_model("test_resnet")  # with its classifier, as on the hub; a resnet18 takes longer
    save_file(whole.state_dict(), place / "model.safetensors")
    told = {name: whole.pretrained_cfg[name] for name in ("mean", "std")} | {"input_size": [3, 32, 32]}
    (place / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": told}))
    for line in lines:
        words = line.replace("--steps 100", "--steps 2 --device cpu").split()
        done = command(*words, "--zoo-root", tmp_path / "hub")
        assert done.status == 0, done.err
    assert "statistics of 15 batch norms measured on" in done.out
    assert timm.create_model(f"local-dir:{tmp_path / 'merged'}", pretrained=True).conv1
