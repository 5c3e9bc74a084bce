"""Mistakes in a zoo of one's own: one clear line, and status 2."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

BASE = "openai/clip-vit-base-patch32"
EXPERT = "tanganke/clip-vit-base-patch32_mnist"
DATA = {"eurosat": "datasets/tanganke/eurosat", "mnist": "datasets/ylecun/mnist"}


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"embed_dim": 128}, "'cls_token' is (1, 1, 64), but (1, 1, 128)"),
        ({"patch_size": 8}, "'pos_embed' is (1, 5, 64), but (1, 17, 64)"),
        ({"depth": 3}, "lacks 'blocks.2.norm1.weight', which is (64,)"),
        ({"depth": 1}, "has 'blocks.1.norm1.weight' (64,)"),
    ],
)
def test_a_base_of_another_backbone(refuses, rezoo, differs, told):
    rezoo(lambda fields: fields["options"].update(differs))
    line = refuses()
    assert "the base (" in line and told in line and "name the encoder and options" in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "cannot be read"),
        ('{"vision_', "cannot be read"),
        ("[]", "describes no model"),
        ('{"model_type": "bert"}', "is of a 'bert' model"),
    ],
)
def test_a_configuration_that_says_nothing(hub, refuses, rezoo, content, told):
    rezoo(lambda fields: [fields.pop(name) for name in ("encoder", "options")])
    config = hub / BASE / "config.json"
    config.write_text(content)
    line = refuses("fetch")
    assert str(config) in line and told in line


@pytest.fixture
def own(refused, hub, rezoo, tmp_path):
    """A zoo of one's own in another folder: what `run` says of it."""

    def told(change) -> str:
        rezoo(change)
        (tmp_path / "own").mkdir()
        zoo = shutil.copy(hub / "mini-clip.yaml", tmp_path / "own" / "mine.yaml")
        where = ["--suite", hub / "two.yaml", "--zoo", zoo, "--zoo-root", hub]
        return refused("run", "--methods", "average", *where, "--out", tmp_path / "out")

    return told


def of_mnist(**changes):
    return lambda fields: fields["tasks"]["mnist"].update(changes)


def renamed(name: str):
    return lambda fields: fields["tasks"].update({name: fields["tasks"].pop("mnist")})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.update(expert="x"), "expert: there is no such field; did you mean 'experts'"),
        (of_mnist(clases=["x"]), "tasks.mnist.clases: there is no such field; did you mean 'classes'"),
        (lambda f: f["tasks"].update(mnist="ylecun/mnist"), "tasks.mnist: must be a section"),
        (lambda f: f.update(tasks=["mnist", "minst"]), "'minst'; did you mean 'mnist'"),
        (lambda f: f.update(experts={"eurosat": EXPERT}), "experts: none for task 'mnist'"),
        (lambda f: f.update(experts="tanganke/expert"), "'tanganke/expert' must hold {task}"),
        (lambda f: f.update(experts="tanganke/{task}{}"), "no such checkpoint"),
        (lambda f: f.update(encoder="vit_base_patch32_clip"), "unknown timm model 'vit_base_patch32_clip'"),
        (lambda f: f.update(encoder="resnet18", options={}), "in encoder 'resnet18'; name the encoder"),
        (lambda f: f["options"].update(depht=2), "unexpected keyword argument 'depht'"),
        (lambda f: f.pop("encoder"), "options are of an encoder"),
        (lambda f: f.update(weights="weights"), "either weights (a folder) or base and experts"),
        (lambda f: f.pop("base"), "either weights (a folder) or base and experts"),
        (lambda f: f.update(base="nowhere"), "own/nowhere; give a file, a folder, or owner/name"),
        (lambda f: f.update(base="./weights/base.safetensors"), "own/weights/base.safetensors"),
        (lambda f: f.update(base="weights/base.safetensors"), "own/weights/base.safetensors; give a file"),
        (lambda f: [f.update(base="a/b.bin"), f.pop("encoder"), f.pop("options")], "own/a/b.bin; give a file"),
        (lambda f: f.update(base="clip-vit-b-32", options={}), "(1, 1, 768) in encoder 'vit_base_patch32_clip"),
        (lambda f: f.update(std=[0.0, 0.5, 0.5]), "std.0: Input should be greater than 0"),
        (lambda f: f.update(text=EXPERT), f"{EXPERT} has no 'visual_projection.weight'"),
        (renamed("own/mnist"), "tasks: 'own/mnist' names files"),
        (renamed(".."), "tasks: '..' names files"),
        (renamed(""), "tasks: '' names files"),
        (of_mnist(templates=["a {} of {x}"]), "must hold {} once, for the class name, and no other braces"),
        (of_mnist(templates=["a {}" + " very" * 90]), "longer than the 77 tokens"),
        (of_mnist(data=""), "tasks.mnist.data"),
        (of_mnist(data="./pictures"), "no data at"),
        (of_mnist(image="picture"), "no column 'picture'; there are: image, label"),
        (of_mnist(subset="fine"), "subset 'fine'"),
        (of_mnist(counts={"train": 0}), "tasks.mnist.counts.train"),
        (of_mnist(head="head.safetensors"), "no such checkpoint"),
        (of_mnist(head="."), "own is a folder; name a checkpoint in it"),
    ],
)
def test_mistakes_in_a_zoo_of_one_s_own(own, change, told):
    assert told in own(change)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"weight": (10, 32), "bias": (10,)}, "does not fit features of width 64: weight (10, 32)"),
        ({"weight": (9, 64), "bias": (9,)}, "has 9 classes, its card 10"),
        ({"weight": (10, 64)}, "lacks 'bias'; a head holds"),
        ({"norm.weight": (64,)}, "lacks 'projection'; a head holds"),
    ],
)
def test_a_head_that_does_not_fit(own, tmp_path, tensors, told):
    head = tmp_path / "head.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, head)
    line = own(of_mnist(head="../head.safetensors"))
    assert "head of task 'mnist'" in line and "head.safetensors" in line and told in line


@pytest.mark.parametrize("content", ["", "title: [", "title: a\ntitle: b", "\0", "[]"])
def test_a_zoo_that_is_no_yaml(refused, hub, tmp_path, content):
    (tmp_path / "mine.yaml").write_text(content)
    assert str(tmp_path / "mine.yaml") in refused("fetch", "--zoo", tmp_path / "mine.yaml")


def test_paths_are_relative_to_the_zoo_s_file(hub, command, rezoo, tmp_path, monkeypatch):
    def local(fields):
        fields |= {"base": f"./{BASE}/model.safetensors", "experts": "./tanganke/clip-vit-base-patch32_{task}"}
        for task, place in DATA.items():
            fields["tasks"][task]["data"] = f"./{place}"

    rezoo(local)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = command("fetch", "--suite", "../hub/two.yaml", "--zoo", "../hub/mini-clip.yaml")
    assert done.status == 0, done.err
