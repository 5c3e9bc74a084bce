"""Adapters, heads, configurations and headers of models: none chooses code or is waited for, whatever verb reads it."""

import json
import os
import pickle

import hostile_images
import hostile_weights
import numpy as np
import pytest
import torch
from guard import Guard
from PIL import Image

from mergebench.weights.encoders import Encoder
from mergebench.weights.states import save_state

QUICK = "vit_base_patch16_clip_quickgelu_224"
SMALL = Encoder(QUICK, {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1})
NESTED = b"[" * 200_000


@pytest.fixture(scope="module")
def state():
    return SMALL.make().state_dict()


@pytest.fixture
def guard(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Guard(command, tmp_path / "canary")


@pytest.fixture
def good(state, tmp_path):
    save_state(state, tmp_path / "good.safetensors")
    return tmp_path / "good.safetensors"


@pytest.fixture
def average(guard, tmp_path):
    """Averages two experts; gives the refusal."""

    def run(base, one, other, **told):
        files = ("--base", base, "--experts", f"a={one}", f"b={other}", "--output", tmp_path / "out.safetensors")
        return guard.refused("merge", "--method", "average", *files, **told)

    return run


def evil(name, **arguments):
    return {"architecture": name, "model_args": arguments}


CONFIGS = {
    "nested": NESTED,
    "not UTF-8": b"\xff\xfe",
    "a hub's model": evil("hf-hub:owner/model"),
    "a folder": evil("local-dir:/tmp"),
    "a module": evil("os:abort"),
    "a path": evil("../../x:y"),
    "a checkpoint": evil(QUICK, checkpoint_path="evil.pt"),
    "weights of the hub's": evil(QUICK, pretrained=True),
    "another place": evil(QUICK, pretrained_cfg_overlay={"url": "file:///evil.pt", "file": "evil.pt"}, img_size=32),
    "depth without end": evil(QUICK, depth=10**9),
    "width without end": evil(QUICK, embed_dim=10**9),
    "no number": evil(QUICK, depth="import os"),
    "not finite": b'{"architecture": "%s", "model_args": {"mlp_ratio": 1e999}}' % QUICK.encode(),
    "names that act": evil("\x1b[31m\u202evit", **{"\x1b]0;own\x07": 1}),
    "another kind": {"model_type": "__import__('os')", "auto_map": {"AutoModel": "evil--x.py"}},
    "layers without end": {"model_type": "vit", "num_hidden_layers": 10**12},
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_json(kind, average, good, state, tmp_path):
    (tmp_path / "base").mkdir()
    save_state(state, tmp_path / "base" / "model.safetensors")
    told = CONFIGS[kind]
    (tmp_path / "base" / "config.json").write_bytes(told if isinstance(told, bytes) else json.dumps(told).encode())
    average(tmp_path / "base", good, good)


def test_a_config_json_without_end(average, good, state, tmp_path):
    (tmp_path / "base").mkdir()
    save_state(state, tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "config.json").touch()
    os.truncate(tmp_path / "base" / "config.json", 10**11)
    average(tmp_path / "base", good, good, names="config.json", remedy="it has more than 10,000,000 bytes")


RECIPES = {
    "nested": "[" * 200_000,
    "a module": json.dumps({"encoder": {"name": "os:abort", "options": {}}}),
    "a list": "[1]",
    "an encoder that acts": json.dumps({"encoder": {"name": "\x1b[2J\u202e", "options": {}}, "tasks": ["\x1b[31m"]}),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_header_s_recipe(kind, guard, good, state, tmp_path):
    """A recipe that cannot be read is none; one that names code is told and not run."""
    file = tmp_path / "mine.safetensors"
    save_state(state, file, {"recipe": RECIPES[kind]})
    files = ("--base", file, "--experts", f"a={file}", f"b={good}", "--output", tmp_path / "out.safetensors")
    done = guard.ran("merge", "--method", "average", *files)
    assert done.status == (0 if kind in ("nested", "a list") else 2), done


ADAPTERS = {
    "nested": NESTED,
    "a list": b"[1]",
    "not UTF-8": b"\xff",
    "a pattern without end": json.dumps({"peft_type": "LORA", "r": 1, "rank_pattern": {"(a+)+$" * 99: 1}}).encode(),
    "an alpha that is none": b'{"peft_type": "LORA", "r": 1, "lora_alpha": 1e999}',
    "a rank without end": b'{"peft_type": "LORA", "r": %s}' % (b"9" * 4000),
    "a kind that acts": json.dumps({"peft_type": "\x1b[31m\u202e"}).encode(),
    "a path as base": json.dumps({"peft_type": "LORA", "r": 1, "base_model_name_or_path": "../../etc"}).encode(),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters(kind, average, good, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    tensors = {
        "base_model.model.x.lora_A.weight": torch.ones(2, 4),
        "base_model.model.x.lora_B.weight": torch.ones(4, 2),
    }
    save_state(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(ADAPTERS[kind])
    average(good, folder, good, names=folder)


def test_an_adapter_s_pickle(average, good, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes(json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1}).encode())
    (folder / "adapter_model.bin").write_bytes(hostile_weights.PICKLES["code beside tensors"](tmp_path / "canary"))
    average(good, folder, good, names=folder / "adapter_model.bin", remedy="a pickle's code is never run")


SHARDS = {
    "elsewhere": {"weight_map": {"a": "../good.safetensors"}},
    "absolute": {"weight_map": {"a": "/etc/passwd"}},
    "itself": {"weight_map": {"a": "mine.safetensors.index.json"}},
    "a number": {"weight_map": {"a": 3}},
    "a list": [1],
}


@pytest.mark.parametrize("kind", SHARDS)
def test_indices_of_shards(kind, average, good, tmp_path):
    file = tmp_path / "mine.safetensors.index.json"
    file.write_text(json.dumps(SHARDS[kind]))
    average(good, file, good, names=file)


def pictures(folder):
    for number in range(24):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


WEIGHTS = {
    ".safetensors": lambda canary: hostile_weights.HEADERS["deep"](),
    ".pt": hostile_weights.PICKLES["code beside tensors"],
    ".bin": lambda canary: pickle.dumps(hostile_weights.Evaluates(canary)),
}


@pytest.mark.parametrize("suffix", WEIGHTS)
@pytest.mark.parametrize("door", ["evaluate", "inspect", "finetune", "head", "heads", "expert", "base"])
def test_other_doors_of_weights(door, suffix, guard, own, write, tmp_path):
    file = tmp_path / f"hostile{suffix}"
    file.write_bytes(WEIGHTS[suffix](tmp_path / "canary"))
    good = own.trained()
    task = {"data": "data", "head": file.name if door == "head" else "head.safetensors"}
    expert = {"flowers": file.name} if door == "expert" else "{task}.safetensors"
    zoo = write("zoo", title="z", base=str(file) if door == "base" else "tiny", experts=expert, tasks={"flowers": task})
    run = ("run", "--methods", "average", "--suite", own.suite, "--zoo", zoo, "--out", tmp_path / "out")
    head = tmp_path / "head.safetensors"
    words = {
        "evaluate": ("evaluate", file, "--suite", own.suite),
        "inspect": ("inspect", "--suite", own.suite, "--merged", file),
        "finetune": ("finetune", "--task", "t", "--base", file, "--data", tmp_path / "data"),
        "heads": ("merge", "--method", "adamerging", "--base", "tiny", "--experts", f"a={good}",
                  f"b={good}", "--heads", f"a={file}", f"b={head}", "--output", tmp_path / "o.safetensors"),
    }  # fmt: skip
    guard.refused(*words.get(door, run), names=file.name if door != "heads" else "")


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\u202eb", "a\nb", "a\u2028b"])
def test_classes_and_files_whose_names_act(name, guard, tmp_path):
    """Folders of images, as whoever packed an archive called them."""
    root = pictures(tmp_path / "data")
    (root / "a").rename(root / name)
    (root / name / f"{name}.png").write_bytes(b"no image")
    words = ("finetune", "--task", "t", "--base", "tiny", "--data", root, "--output", tmp_path / "x.safetensors")
    guard.refused(*words, names=root)


def test_a_bomb_among_images_is_told_by_the_verb(guard, tmp_path):
    root = pictures(tmp_path / "data")
    for number in range(24):
        (root / "ab"[number % 2] / f"{number}.png").write_bytes(hostile_images.png(60_000, 60_000 + number))
    words = ("finetune", "--task", "t", "--base", "tiny", "--data", root, "--output", tmp_path / "x.safetensors")
    line = guard.refused(*words, names=".png")
    assert "cannot be decoded: it has more than 100 million pixels; scale it down" in line
