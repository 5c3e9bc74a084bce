"""A base that is no CLIP, of a size that nobody registered: from folders of images to a leaderboard, by verbs alone."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from mergebench.cli import main
from mergebench.data.image_cache import load_split
from mergebench.weights.states import SafetensorsState, recipe_of
from mergebench.zoo.zoo import Zoo

NAME = "vit_small_patch14_dinov2"  # LayerScale, no text tower; 518 pixels where it is registered
OPTIONS = {"img_size": 28, "embed_dim": 48, "depth": 2, "num_heads": 3}
ENCODER = ("--encoder", NAME, "--encoder-options", *(f"{name}={value}" for name, value in OPTIONS.items()))
QUICK = ("--steps", "12", "--batch-size", "8", "--learning-rate", "1e-3", "--device", "cpu")
TINTS = {
    "colours": {"red": (200, 60, 60), "green": (60, 180, 60), "blue": (60, 60, 200)},
    "greys": {"dark": (70, 70, 70), "light": (150, 150, 150)},
    "tones": {"warm": (180, 140, 90), "cold": (90, 140, 180)},
}


def zoo_file(folder, name, *, heads, encoder=True, experts="{task}.safetensors"):
    """Writes a zoo of the three tasks, with or without their heads and experts."""
    described = {t: {"data": f"images/{t}"} | ({"head": f"{t}.head.safetensors"} if heads else {}) for t in TINTS}
    fields = {"title": "no CLIP", "base": "base.safetensors", "tasks": described}
    fields |= {"experts": experts} if experts else {}
    fields |= {"encoder": NAME, "options": OPTIONS} if encoder else {}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))
    return str(folder / f"{name}.yaml")


def make():
    return timm.create_model(NAME, num_classes=0, **OPTIONS).eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, images, and three experts: one of a folder alone, two of a zoo without heads."""
    folder, rng = tmp_path_factory.mktemp("no-clip"), np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = make()
        for parameter in base.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    save_file(base.state_dict(), folder / "base.safetensors")
    for task, tints in TINTS.items():
        for name, tint in tints.items():
            (folder / "images" / task / name).mkdir(parents=True)
            for number in range(24):
                pixels = np.array(tint) + rng.integers(-60, 60, (30 + number % 5, 34, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / "images" / task / name / f"{number}.png")
    bare = zoo_file(folder, "bare", heads=False, experts=None)
    alone = ("--data", folder / "images" / "colours", "--base", folder / "base.safetensors", *ENCODER)
    for task, more in (("colours", alone), ("greys", ("--zoo", bare)), ("tones", ("--zoo", bare))):
        output = ("--output", folder / f"{task}.safetensors")
        assert main([str(a) for a in ("finetune", "--task", task, *more, *output, *QUICK)]) == 0
    zoo = zoo_file(folder, "zoo", heads=True)
    fields = {"title": "three", "zoo": "zoo.yaml", "merge": list(TINTS)}
    (folder / "suite.yaml").write_text(yaml.safe_dump(fields))
    return SimpleNamespace(folder=folder, zoo=zoo, bare=bare, suite=str(folder / "suite.yaml"))


def test_experts_and_heads_note_what_they_are_of(place):
    for task in TINTS:
        expert = SafetensorsState(place.folder / f"{task}.safetensors")
        head = SafetensorsState(place.folder / f"{task}.head.safetensors")
        assert recipe_of(expert)["encoder"]["name"] == NAME and recipe_of(expert)["encoder"]["options"] == OPTIONS
        assert recipe_of(expert)["head"] == "cosine" and recipe_of(head)["tasks"] == [task]
        assert recipe_of(head)["classes"] == recipe_of(expert)["classes"] == sorted(TINTS[task])
        assert {n: t.shape for n, t in expert.items()} == {n: t.shape for n, t in make().state_dict().items()}


def test_run_measures_them_and_methods_that_walk_through_blocks_work(place, command, tmp_path):
    methods = ("average", "task_arithmetic", "regmean", "regmean++")
    done = command("run", "--methods", *methods, "--suite", place.suite, "--out", tmp_path, "--device", "cpu")
    assert done.status == 0, done
    results = [json.loads(p.read_text()) for p in tmp_path.rglob("*.json")]
    found = {r["method"]: r for r in results if "method" in r and "tasks" in r}
    assert set(methods) | {"finetuned"} <= set(found)


def test_what_is_merged_and_evaluated_is_what_timm_s_model_says(place, command, tmp_path):
    merged, counts = tmp_path / "m.safetensors", tmp_path / "counts.json"
    files = (
        "--base",
        place.folder / "base.safetensors",
        "--experts",
        *(place.folder / f"{t}.safetensors" for t in TINTS),
    )
    images = ("--calibration", *(place.folder / "images" / t for t in TINTS))
    done = command("merge", "--method", "regmean++", *files, *images, "--output", merged)
    assert done.status == 0, done  # the experts' headers say the encoder
    done = command("evaluate", merged, "--suite", place.suite, "--json", counts, "--device", "cpu")
    assert done.status == 0, done
    model, zoo, told = make(), Zoo(place.zoo), json.loads(counts.read_text())["tasks"]
    model.load_state_dict(load_file(merged))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for task in TINTS:
        split = load_split(zoo.task(task), "test")
        pixels = torch.from_numpy(np.array(split.images[:])).permute(0, 3, 1, 2) / 255
        head = load_file(place.folder / f"{task}.head.safetensors")
        with torch.no_grad():
            predicted = (model((pixels - mean) / std) @ head["text_features"].T).argmax(1)  # of a zero-shot head's form
        correct = int((predicted == torch.from_numpy(np.array(split.labels))).sum())
        assert told[task] == {"correct": correct, "total": len(split.labels)}


def test_evaluate_takes_an_encoder_that_the_zoo_does_not_name(place, command, tmp_path):
    silent = zoo_file(place.folder, "silent", heads=True, encoder=False)
    base = ("evaluate", place.folder / "base.safetensors", "--suite", place.suite, "--device", "cpu", "--zoo")
    done = command(*base, silent)
    assert done.status == 2 and "has no 'norm_pre.weight', as in no CLIP vision transformer" in done.err
    counts = [tmp_path / "a.json", tmp_path / "b.json"]
    assert command(*base, silent, *ENCODER, "--json", counts[0]).status == 0
    assert command(*base, place.zoo, *ENCODER[:2], "--json", counts[1]).status == 0  # named without its options
    assert counts[0].read_text() == counts[1].read_text()
    done = command(*base, place.zoo, "--encoder", NAME, "--encoder-options", "img_size=42")
    assert done.status == 2 and "zoo 'zoo' names vit_small_patch14_dinov2 with" in done.err
    done = command(*base, silent, *ENCODER[:2])
    assert done.status == 2 and "--encoder-options img_size=" in done.err and done.err.count("\n") == 1
    done = command(*base, silent, "--encoder-options", "img_size=28")
    assert done.status == 2 and "name whose options they are, --encoder" in done.err


def test_without_heads_a_run_says_what_writes_them_and_several_tasks_get_one_each(place, command, tmp_path):
    done = command("run", "--methods", "average", "--suite", place.suite, "--zoo", place.bare, "--out", tmp_path)
    assert done.status == 2 and "zoo 'no CLIP' names no expert of task 'colours': give experts:" in done.err
    headless = zoo_file(place.folder, "headless", heads=False)
    done = command("run", "--methods", "average", "--suite", place.suite, "--zoo", headless, "--out", tmp_path)
    assert done.status == 2 and "give head: (mergebench finetune writes one)" in done.err
    joint = tmp_path / "joint.safetensors"
    done = command("finetune", "--zoo", place.bare, "--task", "greys", "tones", "--output", joint, *QUICK)
    assert done.status == 0, done
    for task in ("greys", "tones"):
        told = recipe_of(SafetensorsState(tmp_path / f"joint.{task}.head.safetensors"))
        assert (told["tasks"], told["classes"]) == ([task], sorted(TINTS[task])) and set(told["held_out"]) == {task}
