"""Files of weights after accidents: tensors of the shapes that were told, or a CheckpointError."""

import io
import json
import zipfile
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from mutating import fuzzed, mutated

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.descriptions import encoder_of_config
from mergebench.weights.files import open_weights
from mergebench.weights.states import check_finite, recipe_of, save_state

STATE = {
    "a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.float16), "n": torch.tensor(3),
    "base_model.model.a.lora_A.weight": torch.ones(2, 4), "base_model.model.a.lora_B.weight": torch.ones(5, 2),
}  # fmt: skip
LORA = {name: tensor for name, tensor in STATE.items() if ".lora_" in name}
CONFIG = {
    "peft_type": "LORA", "r": 2, "lora_alpha": 4, "rank_pattern": {"a": 2}, "alpha_pattern": {"x.*": 4.5},
    "use_rslora": False, "bias": "none", "base_model_name_or_path": "owner/base", "target_modules": ["a"],
}  # fmt: skip


def read_through(path):
    with suppress(CheckpointError):
        state = open_weights(path)
        for name in state:
            shape = state.shape(name)
            tensor = state[name]
            assert tuple(tensor.shape) == shape
        recipe_of(state)
        check_finite(state, "it")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_weights(suffix, tmp_path):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_state(STATE, path, {"recipe": json.dumps({"tasks": ["a"], "x": [1, None]})})
    else:
        torch.save({"state_dict": STATE, "epoch": 3}, path, _use_new_zipfile_serialization=suffix == ".pt")

    @fuzzed
    @given(mutated(path.read_bytes()))
    def reads(content):
        path.write_bytes(content)
        read_through(path)

    reads()


def test_pickles_in_archives_that_are_whole(tmp_path):
    """An archive's own sums would find most accidents before the pickle is looked at."""
    path, file = tmp_path / "mine.pt", io.BytesIO()
    torch.save(STATE, file)
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    (pickled,) = [name for name in records if name.endswith("data.pkl")]

    @fuzzed
    @given(mutated(records[pickled]))
    def reads(content):
        with zipfile.ZipFile(path, "w") as archive:
            for name, record in records.items():
                archive.writestr(name, content if name == pickled else record)
        read_through(path)

    reads()


def test_adapters(tmp_path):
    save_state(LORA, tmp_path / "adapter_model.safetensors")

    @fuzzed
    @given(mutated(json.dumps(CONFIG).encode()))
    def reads(content):
        (tmp_path / "adapter_config.json").write_bytes(content)
        with suppress(CheckpointError):
            state = open_weights(tmp_path)
            assert state.told and state.changes

    reads()


def test_indices_of_shards(tmp_path):
    save_state(STATE, tmp_path / "one.safetensors")
    index = {"metadata": {"total_size": 99}, "weight_map": dict.fromkeys(STATE, "one.safetensors")}
    path = tmp_path / "mine.safetensors.index.json"

    @fuzzed
    @given(mutated(json.dumps(index).encode()))
    def reads(content):
        path.write_bytes(content)
        read_through(path)

    reads()


CONFIGS = {
    "timm": {
        "architecture": "vit_tiny_patch16_224", "model_args": {"img_size": 32, "depth": 1}, "num_classes": 0,
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, 32, 32]},
    },
    "clip": {
        "model_type": "clip", "vision_config": {
            "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 128,
            "image_size": 32, "patch_size": 16, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_configurations(kind):
    """Described alone: what is described is made elsewhere, within bounds of its own."""

    @fuzzed
    @given(mutated(json.dumps(CONFIGS[kind]).encode()))
    def reads(content):
        with suppress(ValueError, RecursionError):  # of JSON; told by whoever opened the file
            config = json.loads(content)
            with suppress(MergebenchError):
                assert encoder_of_config(config).name

    reads()
