"""A checkpoint in place of a zoo's base: its weights alone are replaced."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mergebench.errors import MergebenchError
from mergebench.weights.states import digest, save_state
from mergebench.zoo.zoo import Zoo


@pytest.fixture
def other(tmp_path):
    """A base that is not the tiny zoo's, with a description beside it of quite another encoder."""
    tiny = Zoo("tiny")
    state = {name: tensor + 0.01 for name, tensor in tiny.base.items()}
    save_state(state, tmp_path / "hub" / "some" / "base" / "model.safetensors")
    told = {"architecture": "vit_base_patch32_clip_224", "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}
    (tmp_path / "hub" / "some" / "base" / "config.json").write_text(json.dumps(told))
    return tmp_path / "hub" / "some" / "base" / "model.safetensors"


def test_encoder_scales_and_heads_stay_those_of_the_zoo_whose_base_is_named(other, write):
    zoo, tiny = Zoo(write("mine", title="m", base="tiny", experts="{task}", tasks=["digits"]), base=other), Zoo("tiny")
    assert digest(zoo.base) == digest(load_file(other)) != digest(tiny.base)
    assert zoo.identity == tiny.identity
    assert digest(zoo.head("digits").state_dict()) == digest(tiny.head("digits").state_dict())


def test_it_may_be_a_folder_a_pickle_or_on_the_hub(other, write, tmp_path, monkeypatch):
    monkeypatch.chdir(other.parent.parent)
    torch.save(load_file(other), "base.bin")
    own = write("mine", title="m", base="tiny", experts="{task}", tasks=["digits"])
    found = [Zoo(name, base=base).base for name in ("tiny", own) for base in (other.parent, "base", "base.bin")]
    found.append(Zoo(own, tmp_path / "hub", base="some/base").base)
    assert {digest(state) for state in found} == {digest(load_file(other))}


@pytest.mark.parametrize("name", ["base.safetensors", "some/base.safetensors", "./base"])
def test_one_that_is_missing_is_told_as_it_was_given(name, write):
    with pytest.raises(MergebenchError, match=rf"no such checkpoint: {name.removeprefix('./')}; give a file, a folder"):
        Zoo("tiny", base=name).base  # noqa: B018


def test_a_place_may_be_inside_an_installed_package_whose_code_is_not_run(write, tmp_path, monkeypatch):
    package = tmp_path / "adapters_of_mine"
    expert = {name: tensor + 0.01 for name, tensor in Zoo("tiny").base.items()}
    save_state(expert, package / "experts" / "digits.safetensors")
    (package / "__init__.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    where = "adapters_of_mine:experts/{task}.safetensors"
    zoo = Zoo(write("mine", title="m", base="tiny", experts=where, tasks=["digits", "signs"]))
    assert digest(zoo.expert("digits")) == digest(expert) and zoo.origins(["digits"]) == {}
    with pytest.raises(MergebenchError, match=r"no such checkpoint: .*adapters_of_mine/experts/signs\.safetensors"):
        zoo.expert("signs")
    with pytest.raises(MergebenchError, match="no package 'nowhere'; write a path, or package:path"):
        Zoo(write("lost", title="m", base="tiny", experts="nowhere:{task}", tasks=["digits"])).expert("digits")
