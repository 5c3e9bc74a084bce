"""Verbs hold files to each other and to their zoo by what headers note of encoder and normalisation."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from mergebench.weights.encoders import Encoder
from mergebench.weights.states import save_state
from mergebench.zoo.zoo import Zoo

QUICK, GELU = "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_clip_224"
SMALL = {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1}
SCALES = ((0.1, 0.2, 0.3), (0.9, 0.8, 0.7))


@pytest.fixture
def noting(tmp_path):
    """Writes an expert that notes an encoder, or nothing; gives the path."""
    torch.manual_seed(0)
    base = {name: torch.randn_like(tensor) for name, tensor in Encoder(QUICK, SMALL).make().state_dict().items()}

    def to(name, encoder=None, state=None):
        metadata = {"recipe": json.dumps({"encoder": encoder.recipe})} if encoder else {}
        save_state(state or {n: t + 0.01 * torch.randn_like(t) for n, t in base.items()}, tmp_path / name, metadata)
        return tmp_path / name

    return to


def test_experts_of_two_activations_are_not_merged(noting, refused, tmp_path):
    experts = [noting(f"{i}.safetensors", Encoder(name, SMALL)) for i, name in enumerate((QUICK, GELU))]
    output = tmp_path / "merged.safetensors"
    base = noting("base.safetensors")
    line = refused("merge", "--method", "average", "--base", base, "--experts", *experts, "--output", output)
    assert f"{experts[1]} says that it is of encoder '{GELU}'" in line and f"encoder '{QUICK}'" in line
    assert not output.exists()


def test_images_are_normalised_as_an_expert_notes_though_the_encoder_is_named(noting, command, tmp_path):
    """What is merged is the same as without the name, and its header says so."""
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    base, expert = noting("base.safetensors"), noting("expert.safetensors", Encoder(QUICK, SMALL, SCALES))
    arguments = ["--base", base, "--experts", expert, noting("other.safetensors"), "--calibration"]
    arguments += [tmp_path / "images"] * 2
    merged = {}
    for name, more in (("plain", ()), ("named", ("--encoder", QUICK))):
        output = tmp_path / f"{name}.safetensors"
        done = command("merge", "--method", "regmean", *arguments, "--output", output, "--device", "cpu", *more)
        assert done.status == 0, done.err
        with safe_open(output, "pt") as file:
            assert json.loads(file.metadata()["recipe"])["encoder"] == Encoder(QUICK, SMALL, SCALES).recipe
            merged[name] = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118 (a file is no mapping)
    assert all(torch.equal(tensor, merged["named"][name]) for name, tensor in merged["plain"].items())


def test_a_checkpoint_of_other_scales_is_not_evaluated(noting, refused, mini_suite):
    tiny = Zoo("tiny")
    other = Encoder(tiny.encoder.name, {}, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    path = noting("expert.safetensors", other, dict(tiny.base))
    line = refused("evaluate", path, "--suite", mini_suite)
    assert f"the checkpoint ({path}) says that it is of images normalised by mean (0.0, 0.0, 0.0)" in line
    assert "but zoo 'few' is of images normalised by mean (0.45, 0.43, 0.42) and std (0.29, 0.28, 0.28)" in line


def test_a_base_in_a_suite_s_zoo_s_place_is_held_to_that_zoo(noting, refused, command, mini_suite, tmp_path):
    tiny, output = Zoo("tiny"), tmp_path / "merged.safetensors"
    arguments = ("merge", "--method", "average", "--suite", mini_suite, "--output", output, "--base")
    assert command(*arguments, noting("base.safetensors", tiny.encoder, dict(tiny.base))).status == 0
    line = refused(*arguments, noting("other.safetensors", Encoder(QUICK, SMALL), dict(tiny.base)))
    assert "other.safetensors) says that it is of encoder" in line and "zoo 'few' is of" in line
