"""Weights in files: read lazily, or refused in one line; a pickle's code is never run."""

import argparse
import fractions
import json
import pathlib
import re
import types
import warnings
from collections import OrderedDict

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mergebench.errors import CheckpointError
from mergebench.weights import pickles
from mergebench.weights.files import ShardedState
from mergebench.weights.formats import as_timm, open_weights
from mergebench.weights.pickles import PickledState
from mergebench.weights.states import SafetensorsState, check_finite, digest

STATE = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "b": torch.ones(4, dtype=torch.bfloat16),
    "half": torch.arange(3).half(),
    "scalar": torch.tensor(3),
}
SUFFIXES = [".bin", ".pt", ".pth", ".ckpt"]


def test_safetensors_are_opened_as_such(tmp_path):
    save_file(STATE, tmp_path / "e.safetensors")
    read = open_weights(tmp_path / "e.safetensors")
    assert isinstance(read, SafetensorsState) and digest(read) == digest(STATE)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_torch_pickles_of_tensors_are_read(tmp_path, suffix, zipped, wrapped):
    path = tmp_path / f"e{suffix}"
    saved = {"epoch": 3, "name": "run", "state_dict": OrderedDict(STATE), "optimizer": {"lr": 0.1}}
    torch.save(saved if wrapped else STATE, path, _use_new_zipfile_serialization=zipped)
    read = open_weights(str(path))
    assert isinstance(read, PickledState) and read.path == path
    assert list(read) == list(STATE) and "nothing" not in read
    for name, tensor in STATE.items():
        assert read.shape(name) == tuple(tensor.shape)
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
    with pytest.raises(KeyError):
        read["nothing"]


def test_parameters_are_read_as_plain_tensors(tmp_path):
    torch.save(dict(nn.Linear(2, 2).named_parameters()), tmp_path / "e.pt")
    assert not any(t.requires_grad for t in open_weights(tmp_path / "e.pt").values())


def test_a_pickle_is_mapped_anew_once_enough_was_read_and_its_tensors_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAPPED", 20)
    torch.save(STATE, tmp_path / "e.pt")
    read = open_weights(tmp_path / "e.pt")
    kept = [read[name] for name in STATE for _ in range(3)]
    expected = [STATE[name] for name in STATE for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(kept, expected, strict=True))
    assert len({t.untyped_storage().data_ptr() for t in kept[:3]}) > 1
    torch.save({n: t for n, t in STATE.items() if n != "b"}, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match=r"e\.pt changed while it was read"):
        [read["a.weight"] for _ in range(3)]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_that_were_read_through_hold_no_memory(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(pickles, "MAPPED", 2 * 2**20)
    for i in range(6):
        state = {f"{n}": torch.full((2**20,), float(i)) for n in range(5)}
        (save_file if suffix == ".safetensors" else torch.save)(state, tmp_path / f"{i}{suffix}")
    del state
    states = [open_weights(tmp_path / f"{i}{suffix}") for i in range(6)]
    process = psutil.Process()
    before = process.memory_info().rss
    for state in states:
        check_finite(state, "it")
        digest(state)
    assert process.memory_info().rss - before < 60 * 2**20  # of 120
    assert [state["4"][0].item() for state in states] == list(range(6))


class Trap:
    """What a malicious checkpoint would hold: unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_needs_code_is_refused_and_none_is_run(tmp_path, zipped):
    for value, named in [
        ({"a": torch.zeros(3), "trap": Trap(tmp_path / "sprung")}, r"io\.open|_io\.open|builtins\.open"),
        ({"state_dict": STATE, "args": fractions.Fraction(1, 2)}, r"fractions\.Fraction"),
        (nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    ]:
        torch.save(value, tmp_path / "e.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(CheckpointError) as caught:
            open_weights(tmp_path / "e.pt")
        told = str(caught.value)
        assert "\n" not in told and "a pickle's code is never run: convert its state dict" in told
        assert re.search(rf"e\.pt needs ({named}) to be read", told)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_loops_write_beside_the_weights_needs_no_code(tmp_path, zipped):
    beside = {
        "args": argparse.Namespace(lr=1, out=pathlib.Path("out")),
        "options": types.SimpleNamespace(seed=np.int64(3)),
        "best": np.float64(0.5),
        "metric": np.float32(1),
        "epoch": 3,
    }
    torch.save({"state_dict": STATE} | beside, tmp_path / "e.pth.tar", _use_new_zipfile_serialization=zipped)
    state = open_weights(tmp_path / "e.pth.tar")
    assert all(torch.equal(state[name], tensor) for name, tensor in STATE.items()) and len(state) == len(STATE)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()  # others of the process are asked as before


def test_torchscript_is_refused_with_what_to_do(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "ViT-B-32.pt"))
    with pytest.raises(CheckpointError, match=r"ViT-B-32.pt is a TorchScript archive.*torch.jit.load.*save_file") as e:
        open_weights(tmp_path / "ViT-B-32.pt")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_pickle_is_refused_wherever_it_ends(tmp_path, zipped):
    path = tmp_path / "e.pt"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    # Every place in what names code, where half a name is left.
    names = range(whole.find(b"ctorch"), whole.find(b"ctorch") + 40) if b"ctorch" in whole else ()
    for kept in [0, 1, 2, 10, *names, *range(40, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError, match=r"e\.pt is truncated or no torch pickle; delete it") as caught:
            open_weights(path)
        assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)


def test_a_pickle_that_may_not_be_read_is_not_called_broken(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    torch.save(STATE, tmp_path / "e.pt")
    monkeypatch.setattr("torch.load", forbidden)
    with pytest.raises(CheckpointError, match=r"cannot read .*e\.pt: Permission denied"):
        open_weights(tmp_path / "e.pt")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.zeros(3), "holds something of type Tensor, not a state dict"),
        ([1, 2], "holds something of type list, not a state dict"),
        ({"a": torch.zeros(2), "epoch": torch.nn.Parameter}, "'epoch' is of type _ParameterMeta, not a tensor"),
        ({"epoch": 3}, "'epoch' is of type int, not a tensor"),
        ({"state_dict": {"a": {"b": torch.zeros(2)}}}, "'a' is of type dict, not a tensor"),
    ],
)
def test_what_is_no_state_dict_is_told(tmp_path, value, told):
    torch.save(value, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match=told):
        open_weights(tmp_path / "e.pt")


@pytest.mark.parametrize("name", ["e.safetensors", "e.pt", "e.bin", "model.safetensors.index.json"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match=f"no such checkpoint: .*{name}"):
        open_weights(tmp_path / name)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is a folder; name a checkpoint in it"):
        open_weights(tmp_path)


def test_other_names_of_files_are_refused_with_those_that_are_read(tmp_path):
    with pytest.raises(CheckpointError, match=r"e.onnx: weights are in files whose names end in .safetensors, .bin"):
        open_weights(tmp_path / "e.onnx")


def write_shards(folder, *, index=None, write=save_file, suffix=".safetensors"):
    names = list(STATE)
    shards = {f"model-{i + 1}-of-2{suffix}": names[i::2] for i in range(2)}
    for file, held in shards.items():
        write({n: STATE[n] for n in held}, folder / file)
    weight_map = {n: file for file, held in shards.items() for n in held}
    path = folder / f"model{suffix}.index.json"
    path.write_text(json.dumps(index or {"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return path


@pytest.mark.parametrize(("write", "suffix"), [(save_file, ".safetensors"), (torch.save, ".bin")])
def test_shards_are_one_state(tmp_path, write, suffix):
    read = open_weights(write_shards(tmp_path, write=write, suffix=suffix))
    assert isinstance(read, ShardedState) and digest(read) == digest(STATE)
    assert set(read) == set(STATE) and read.shape("a.weight") == (2, 3)


def test_transformers_own_shards_are_read(tmp_path, hf_vision):
    model = hf_vision()
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    read = open_weights(tmp_path / "model.safetensors.index.json")
    assert digest(as_timm(read, "it")) == digest(as_timm(model.state_dict(), "it"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "model-2-of-2.safetensors").unlink(), "no such checkpoint: .*model-2-of-2.safetensors"),
        (
            lambda f: (f / "model-2-of-2.safetensors").write_bytes(b"\0" * 9),
            "model-2-of-2.safetensors is truncated or no safetensors file",
        ),
        (
            lambda f: save_file({"a.weight": STATE["a.weight"]}, f / "model-1-of-2.safetensors"),
            "index.json has 'half', which .*model-1-of-2.safetensors lacks",
        ),
        (
            lambda f: save_file(STATE, f / "model-1-of-2.safetensors"),
            "model-1-of-2.safetensors has '(b|scalar)', which .*index.json lacks",
        ),
        (lambda f: (f / "model.safetensors.index.json").write_text('{"weight_'), "truncated or no index of shards"),
    ],
)
def test_shards_that_do_not_agree_with_their_index_are_named(tmp_path, spoil, told):
    path = write_shards(tmp_path)
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=told) as caught:
        open_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", [[], {"weight_map": 3}, {"weight_map": {"a": 3}}, {"other": {}}])
def test_what_is_no_index_is_told(tmp_path, index):
    (tmp_path / "m.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="no index of shards .it has no weight_map"):
        open_weights(tmp_path / "m.index.json")


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/x.safetensors", "m.index.json"])
def test_shards_lie_beside_their_index(tmp_path, shard):
    (tmp_path / "m.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match=rf"'{shard}' is no shard in the index's own folder"):
        open_weights(tmp_path / "m.index.json")
