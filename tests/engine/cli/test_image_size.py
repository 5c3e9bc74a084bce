"""`--image-size` and `image_size:`: from a base of small images to experts, merges and scores at a larger size."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from transformers import CLIPVisionConfig, CLIPVisionModel

from mergebench.cli import main
from mergebench.weights import formats
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import SafetensorsState, recipe_of

TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 128}
TINTS = {"colours": {"red": (200, 60, 60), "green": (60, 180, 60)}, "greys": {"dark": (70,) * 3, "light": (150,) * 3}}
QUICK = ("--steps", "3", "--batch-size", "4", "--device", "cpu")


def zoo_file(folder, name, **more):
    described = {t: {"data": f"images/{t}", "head": f"{t}.head.safetensors"} for t in TINTS}
    fields = {"title": "two", "base": "base", "experts": "{task}.safetensors", "tasks": described, **more}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields))
    return folder / f"{name}.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base of 32 pixels as transformers saves it; an expert of 48, one of 32, an adapter of 48; zoos of either."""
    folder, rng = tmp_path_factory.mktemp("sizes"), np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = CLIPVisionModel(CLIPVisionConfig(**TOWER, image_size=32, patch_size=16))
        base.save_pretrained(folder / "base")
        saved = load_file(folder / "base" / "model.safetensors")
        moved = {n: t + 0.05 * torch.randn_like(t) if t.is_floating_point() else t for n, t in saved.items()}
    save_file(moved, folder / "greys.safetensors")
    for task, tints in TINTS.items():
        for name, tint in tints.items():
            (folder / "images" / task / name).mkdir(parents=True)
            for number in range(20):
                pixels = np.array(tint) + rng.integers(-60, 60, (60, 64, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                    folder / "images" / task / name / f"{number}.png"
                )
    start = ("--base", folder / "base", "--image-size", "48", *QUICK)
    runs = [
        ("--task", "colours", "--data", folder / "images/colours", "--output", folder / "colours.safetensors"),
        ("--task", "greys", "--data", folder / "images/greys", "--output", folder / "adapter", "--lora", "2")
        + ("--format", "peft"),
    ]
    for run in runs:
        assert main([str(a) for a in ("finetune", *run, *start)]) == 0
    (folder / "adapter.head.safetensors").rename(folder / "greys.head.safetensors")
    small, large = zoo_file(folder, "small"), zoo_file(folder, "large", image_size=48)
    fields = {"title": "two", "zoo": "large.yaml", "merge": list(TINTS)}
    (folder / "suite.yaml").write_text(yaml.safe_dump(fields))
    experts = [folder / "colours.safetensors", folder / "greys.safetensors"]
    merge = ("merge", "--method", "average", "--base", folder / "base", "--experts")
    return SimpleNamespace(
        folder=folder, small=small, large=large, suite=folder / "suite.yaml", experts=experts, merge=merge
    )


def resized(tensor):
    return resample_abs_pos_embed(tensor, [3, 3], [2, 2])


def test_what_is_trained_notes_what_was_interpolated(place):
    expert = SafetensorsState(place.folder / "colours.safetensors")
    recipe = recipe_of(expert)
    assert expert.shape("pos_embed") == (1, 10, 64) and recipe["encoder"]["options"]["img_size"] == 48
    assert recipe["interpolated"] == {"image_size": 48, "base": 32}
    assert recipe_of(SafetensorsState(place.folder / "colours.head.safetensors"))["interpolated"]["image_size"] == 48


def test_experts_of_both_sizes_are_merged_at_one(place, command, tmp_path):
    output = tmp_path / "merged.safetensors"
    done = command(*place.merge, *place.experts, "--output", output)
    assert done.status == 2 and done.err.count("\n") == 1, done
    assert "for images of 48 pixels" in done.err and "give --image-size 48 (in a zoo's file image_size: 48)" in done.err
    done = command(*place.merge, *place.experts, "--output", output, "--image-size", "48", "--card")
    assert done.status == 0, done
    note = "position embeddings are interpolated from 2 x 2 patches (images of 32 pixels) to 3 x 3 (48)"
    assert done.err.count(note) == 1 and "--image-size 48" in output.with_suffix(".md").read_text()
    large, merged = load_file(place.experts[0]), load_file(output)
    small = formats.as_timm(load_file(place.experts[1]), "expert")
    assert torch.allclose(merged["pos_embed"], (large["pos_embed"] + resized(small["pos_embed"])) / 2, atol=1e-6)
    assert torch.allclose(merged["norm.weight"], (large["norm.weight"] + small["norm.weight"]) / 2, atol=1e-6)
    noted = recipe_of(SafetensorsState(output))
    assert noted["interpolated"] == {"image_size": 48, "base": 32, "experts": {"colours": 48, "greys": 32}}
    assert noted["encoder"]["options"]["img_size"] == 48


def test_a_folder_for_transformers_is_of_the_new_size(place, command, tmp_path):
    calibration = ("--calibration", place.folder / "images/colours", place.folder / "images/greys")
    more = ("--image-size", "48", "--format", "hf", "--set", "samples=4", *calibration, "--output", tmp_path / "hf")
    done = command("merge", "--method", "regmean++", *place.merge[3:], *place.experts, *more)
    assert done.status == 0, done
    theirs = CLIPVisionModel.from_pretrained(tmp_path / "hf").eval()
    sizes = {"img_size": 48, "embed_dim": 64, "depth": 2, "num_heads": 1, "mlp_ratio": 2.0}
    own = Encoder("vit_base_patch16_clip_quickgelu_224", sizes).make().eval()
    own.load_state_dict(dict(formats.as_timm(formats.open_weights(tmp_path / "hf" / "model.safetensors"), "merged")))
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(own(pixels), theirs(pixels).pooler_output, atol=1e-5)


def test_an_adapter_is_added_to_the_interpolated_base(place, command, tmp_path):
    output, adapter = tmp_path / "m.safetensors", place.folder / "adapter"
    done = command(*place.merge, place.experts[0], adapter, "--output", output, "--image-size", "48")
    assert done.status == 0 and "other weights than the base's" not in done.err, done
    done = command(*place.merge, adapter, "--output", output)  # which has no tensor that would tell
    assert done.status == 2 and "give --image-size 48" in done.err, done
    done = command(*place.merge, adapter, "--output", output, "--image-size", "64")
    assert (
        done.status == 2
        and "it is of images of 48 pixels, the base of 32, taken to 64; give --image-size 48" in done.err
    )


def test_a_zoo_says_it_or_the_command_line_does(place, command, tmp_path):
    found = []
    for number, more in enumerate((("--zoo", place.large), ("--zoo", place.small, "--image-size", "48"))):
        counts = tmp_path / f"{number}.json"
        asked = ("--suite", place.suite, "--device", "cpu", "--json", counts, *more)
        done = command("evaluate", place.experts[1], *asked)
        assert done.status == 0, done
        found.append(json.loads(counts.read_text()))
    assert found[0] == found[1]
    assert found[0]["interpolated"] == {"image_size": 48, "base": 32, "experts": {"checkpoint": 32}}
    done = command("evaluate", place.experts[0], "--suite", place.suite, "--zoo", place.small, "--device", "cpu")
    assert (
        done.status == 2
        and "for images of 48 pixels, but zoo 'small' is of one for 32; give --image-size 48" in done.err
    )
    done = command("run", "--methods", "average", "--suite", place.suite, "--out", tmp_path / "runs", "--device", "cpu")
    assert done.status == 0 and done.err.count("are interpolated from 2 x 2 patches") == 1, done
    assert "of 48 pixels, to which position embeddings are interpolated" in command("describe", place.large).out


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("0", "--image-size: expected a whole number from 1, not 0"),
        ("-48", "--image-size: expected a whole number from 1, not -48"),
        ("49", "--image-size 49: encoder 'vit_base_patch16_clip_quickgelu_224' has patches of 16 pixels"),
        ("480000000", "images of at most 4096 are taken"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_any_work(place, command, tmp_path, size, told):
    done = command(*place.merge, *place.experts, "--image-size", size, "--output", tmp_path / "m.safetensors")
    assert done.status == 2 and told in done.err and done.err.count("\n") == 1, done
    assert not list(tmp_path.iterdir())


def test_of_a_suite_and_of_an_encoder_of_one_s_own_it_is_refused(place, command, tmp_path):
    done = command("merge", "--method", "average", "--image-size", "48", "--output", tmp_path / "m.safetensors")
    assert done.status == 2 and "--image-size goes with --base and --experts" in done.err, done
    done = command("evaluate", place.experts[0], "--image-size", "64")
    assert done.status == 2 and "is a function's, for images of 32 pixels alone" in done.err, done
    drawn = zoo_file(place.folder, "drawn", tasks=["digits"], image_size=48)
    done = command("finetune", "--zoo", drawn, "--task", "digits", "--output", tmp_path / "d.safetensors", *QUICK)
    assert done.status == 2 and "task 'digits' has images of one size alone" in done.err, done
    done = command("describe", zoo_file(tmp_path, "odd", image_size="48"))
    assert done.status == 2 and "image_size" in done.err and done.err.count("\n") == 1, done
