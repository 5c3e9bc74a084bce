"""`mergebench finetune --data`: an expert of one's own images, its head probed, prompted or given."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from mergebench.data.image_cache import Split, load_split
from mergebench.training.own import own_head, own_zoo
from mergebench.weights.states import digest, save_state
from mergebench.zoo.heads import LinearHead
from mergebench.zoo.zoo import Zoo

TINY = "mergebench.tasks.tiny.model:create_encoder"
QUICK = ("--steps", 12, "--batch-size", 8, "--learning-rate", 5e-4, "--device", "cpu")
CLASSES = ("green", "purple", "red")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A folder of one folder per class; the class is the colour, behind noise."""
    root, rng = tmp_path_factory.mktemp("data") / "flowers", np.random.default_rng(0)
    tints = {"red": (200, 60, 60), "green": (60, 180, 60), "purple": (140, 60, 160)}
    for name, tint in tints.items():
        (root / name).mkdir(parents=True)
        for number in range(26):
            pixels = np.array(tint) + rng.integers(-50, 50, (36 + number, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{number}.png")
    return root


def header(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["recipe"])


def percent(done, who):
    return float(next(line for line in done.out.splitlines() if line.startswith(who)).split()[1])


def test_without_a_text_tower_a_probe_comes_first(command, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("finetune", "--task", "my-flowers", "--data", flowers, "--base", "tiny", *QUICK)
    assert done.status == 0, done.err
    expert, head = tmp_path / "my-flowers.safetensors", tmp_path / "my-flowers.head.safetensors"
    assert f"wrote {head.name}" in done.out and f"wrote {expert.name}" in done.out
    assert percent(done, "expert") >= percent(done, "base") > 80
    told, base = header(expert), Zoo("tiny").base
    assert told["classes"] == list(CLASSES) == header(head)["classes"]
    assert (told["head"], told["base"], told["tasks"]) == ("cosine", digest(base), ["my-flowers"])
    scales = {"mean": [0.45, 0.43, 0.42], "std": [0.29, 0.28, 0.28]}
    assert told["encoder"] == {"name": TINY, "options": {}} | scales and sum(told["images"].values()) == 78
    assert set(load_file(expert)) == set(base)
    # What was written is a task of a zoo of one's own.
    described = {"data": str(flowers), "head": str(head)}
    fields = {
        "title": "mine",
        "base": "tiny",
        "experts": {"my-flowers": str(expert)},
        "tasks": {"my-flowers": described},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(fields))
    zoo = Zoo(str(tmp_path / "mine.yaml"))
    assert digest(zoo.expert("my-flowers")) == digest(load_file(expert))
    assert digest(zoo.head("my-flowers").state_dict()) == digest(load_file(head))
    assert told["held_out"] == {"my-flowers": load_split(zoo.task("my-flowers"), "test").digest}


def test_a_zoo_s_own_scales_are_noted_and_passed_on(command, flowers, tmp_path, write):
    described = {"data": str(flowers), "head": "given.safetensors"}
    save_state({"weight": torch.randn(3, 160), "bias": torch.zeros(3)}, tmp_path / "given.safetensors")
    scales = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    zoo = write("mine", title="mine", base="tiny", experts="{task}", tasks={"f": described}, **scales)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert command("finetune", "--task", "f", "--zoo", zoo, "--output", first, *QUICK).status == 0
    head = tmp_path / "given.safetensors"
    done = command(
        "finetune", "--task", "f", "--data", flowers, "--base", first, "--head", head, "--output", second, *QUICK
    )
    assert done.status == 0, done.err
    for expert in (first, second):
        assert header(expert)["encoder"] == {"name": TINY, "options": {}} | scales


def test_a_probe_is_fitted_once_and_kept_with_the_progress(command, flowers, tmp_path, monkeypatch):
    arguments = ("--task", "f", "--data", flowers, "--base", "tiny", *QUICK, "--checkpoints", tmp_path / "progress")
    assert command("finetune", *arguments, "--output", tmp_path / "a.safetensors").status == 0
    # On another machine, the last bits would be others.
    other = LinearHead(torch.randn(3, 160), torch.zeros(3))
    monkeypatch.setattr("mergebench.training.own.fit_linear_head", lambda *_, **__: other)
    done = command("finetune", *arguments, "--output", tmp_path / "b.safetensors")
    assert done.status == 0, done.err
    first, second = (load_file(tmp_path / f"{name}.head.safetensors") for name in "ab")
    assert digest(first) == digest(second)
    # Of other images it is another one.
    train = Split(np.zeros((3, 32, 32, 3), np.uint8), np.arange(3), "another digest")
    zoo = own_zoo("f", str(flowers), "tiny")
    assert own_head(zoo, "f", train, "cpu", tmp_path / "progress")[0] is other


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--augment", "mixup"], "unknown augmentation 'mixup'"),
        (["--frozen", "steam"], "no parameter's name begins with 'steam'"),
        (["--frozen", ""], "frozen=[''] leaves nothing to be trained"),
        (["--checkpoints", "/dev/null/x"], "cannot write /dev/null/x/progress.ckpt: Not a directory"),
        (["--lora", "160"], "lora=160, but 'blocks.0.attn.qkv' has rank 160 itself"),
        (["--batch-size", "1", "--devices", "2"], "there are 2 devices"),
    ],
)
def test_settings_are_refused_before_images_are_decoded(option, told, refused, flowers, tmp_path, monkeypatch):
    monkeypatch.setattr("mergebench.data.image_cache.load_split", lambda *_: pytest.fail("too early"))
    arguments = ("--task", "f", "--data", flowers, "--base", "tiny", "--output", tmp_path / "x.safetensors")
    assert told in refused("finetune", *arguments, "--device", "cpu", *option)


def test_a_base_in_a_file_and_a_head_that_is_given(command, flowers, tmp_path):
    base, head = Zoo("tiny").base.path, tmp_path / "given.safetensors"
    save_state({"weight": torch.randn(3, 160), "bias": torch.zeros(3)}, head)
    output = tmp_path / "out" / "expert.safetensors"
    arguments = ("--task", "f", "--data", flowers, "--base", base, "--output", output, "--head", head, *QUICK)
    done = command("finetune", *arguments, "--encoder", TINY, "--lora", 2)
    assert done.status == 0, done.err
    assert header(output)["head"] == "given" and not list(output.parent.glob("*.head.*"))
    # An expert's header says what its encoder is.
    again = tmp_path / "again.safetensors"
    done = command("finetune", "--task", "f", "--data", flowers, "--base", output, "--output", again, *QUICK)
    assert done.status == 0, done.err
    assert header(again)["encoder"]["name"] == TINY and header(again)["base"] == digest(load_file(output))


@pytest.fixture
def clip(tmp_path):
    """The folder of a whole CLIP, as transformers saves it."""
    torch.manual_seed(0)
    tower = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 128}
    text = tower | {"eos_token_id": 49407}
    config = CLIPConfig(text_config=text, vision_config=tower | {"image_size": 32, "patch_size": 16}, projection_dim=32)
    CLIPModel(config).save_pretrained(tmp_path / "models" / "clip")
    return tmp_path / "models" / "clip"


def test_a_clip_s_text_tower_makes_the_head(command, flowers, clip, tmp_path):
    base, output = clip / "model.safetensors", tmp_path / "expert.safetensors"
    arguments = ("--task", "f", "--data", flowers, "--base", base, "--output", output, *QUICK)
    done = command("finetune", *arguments, "--templates", "a photo of a {} flower.", "a {} flower.")
    assert done.status == 0, done.err
    assert header(output)["head"] == "prompts" and not list(tmp_path.glob("*.head.*"))
    assert header(output)["encoder"]["options"]["img_size"] == 32


@pytest.mark.parametrize("base", ["models/clip", "./models/clip", "models/clip/model.safetensors"])
def test_places_are_relative_to_the_current_folder(base, command, flowers, clip, tmp_path, monkeypatch):
    """A folder here is meant before owner/name on the hub."""
    (tmp_path / "images").symlink_to(flowers.parent)
    monkeypatch.chdir(tmp_path)
    done = command("finetune", "--task", "f", "--data", "images/flowers", "--base", base, *QUICK)
    assert done.status == 0, done.err
    told = header(tmp_path / "f.safetensors")
    assert (told["head"], told["data"]) == ("prompts", "images/flowers")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--base", "models/b.safetensors"], "no such checkpoint: models/b.safetensors; give a file, a folder"),
        (["--base", "./models/b"], "no such checkpoint: models/b; give a file, a folder"),
        (["--head", "nope.safetensors"], "no such checkpoint: nope.safetensors"),
        (["--data", "images2"], "task 'f': no data at images2; give a folder"),
        (["--data", "models/flower", "--zoo-root", "."], "; and there is no folder models/flower"),
    ],
)
def test_a_place_that_is_missing_is_told_as_it_was_given(option, told, refused, flowers, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused("finetune", "--task", "f", "--data", flowers, "--base", "tiny", "--device", "cpu", *option)
    assert told in line


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--data", "{data}"], "--data: give one name as --task, and in place of --zoo what to start from as --base"),
        (["--data", "{data}", "--base", "tiny", "--zoo", "tiny"], "in place of --zoo"),
        (["--base", "tiny"], "--base goes with --data"),
        (["--head", "x.safetensors"], "--head goes with --data"),
        (["--data", "{data}/nowhere", "--base", "tiny"], "nowhere"),
        (["--data", "{data}", "--base", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--data", "{data}", "--base", "tiny", "--head", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--data", "{data}", "--base", "tiny", "--templates", "a photo"], "must hold {} once"),
        (["--data", "{data}", "--base", "tiny", "--templates", "a {}."], "--templates: tiny has no text tower"),
        (
            ["--data", "{data}", "--base", "tiny", "--templates", "a {}.", "--head", "x.safetensors"],
            "--templates: the head is given (--head)",
        ),
        (
            ["--data", "{data}", "--base", "tiny", "--lora", "2", "--frozen", "blocks"],
            "with lora all weights are frozen",
        ),
        (["--data", "{data}", "--base", "tiny", "--precision", "fp8"], "unknown precision 'fp8'"),
        (["--data", "{data}", "--base", "tiny", "--batch-size", "1", "--devices", "2"], "there are 2 devices"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(given, told, refused, flowers, tmp_path):
    output = tmp_path / "x.safetensors"
    filled = [g.format(data=flowers) if "{data}" in g else g for g in given]
    assert told in refused("finetune", "--task", "f", "--output", output, "--device", "cpu", *filled)
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_file_can_have_is_refused(refused, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused("finetune", "--task", "my/flowers", "--data", flowers, "--base", "tiny", "--output", "x.safetensors")
    assert "--task my/flowers" in line
    assert "--output" in refused("finetune", "--task", "digits", "signs")


def test_a_class_of_one_training_image_gets_a_logistic_head_and_it_is_told(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split, counts in (("train", {"a": 30, "b": 3}), ("test", {"a": 2, "b": 2})):
        for name, number in counts.items():
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for n in range(number):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{n}.png")
    done = command("finetune", "--task", "f", "--data", "data", "--base", "tiny", *QUICK)
    assert done.status == 0, done.err
    assert ("a class has one training image" in done.err) == (header("f.safetensors")["head"] == "linear")


def test_a_cosine_head_is_fitted_kept_and_written_like_any_other(command, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--task", "f", "--data", flowers, "--base", "tiny", "--checkpoints", "kept", *QUICK)
    done = command("finetune", *arguments)
    assert done.status == 0, done.err
    head = load_file("f.head.safetensors")
    assert header("f.safetensors")["head"] == "cosine" and set(head) == {"projection", "text_features", "logit_scale"}
    torch.testing.assert_close(head["text_features"].norm(dim=1), torch.ones(3))
    # The progress is that of a training behind this head; behind another one it is another training.
    other = command("finetune", *arguments, "--probe", "logistic")
    assert other.status == 2 and "another training" in other.err
    assert len(list((tmp_path / "kept").glob("head-*"))) == 2


def test_what_the_head_scores_is_told_before_training_and_a_gap_is_warned_of(command, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--task", "f", "--base", "tiny", *QUICK)
    done = command("finetune", *arguments, "--data", flowers)
    lines = done.out.splitlines()
    told = next(n for n, line in enumerate(lines) if line.startswith("head ") and "training images" in line)
    assert "validation images" in lines[told] and told < next(n for n, x in enumerate(lines) if x.startswith("base"))
    assert "fitted to its training images" not in done.err
    rng = np.random.default_rng(0)  # nothing is to be learnt of these but by heart
    for name in "ab":
        (tmp_path / "noise" / name).mkdir(parents=True)
        for number in range(60):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "noise" / name / f"{number}.png")
    done = command("finetune", *arguments, "--data", "noise", "--probe", "logistic")
    assert done.status == 0 and "fitted to its training images" in done.err and "--probe cosine" in done.err


def test_a_probe_where_no_head_is_fitted_is_refused(refused, flowers, clip, tmp_path):
    line = refused("finetune", "--task", "digits", "--probe", "cosine", "--output", tmp_path / "x.safetensors")
    assert "--probe cosine: the head of 'digits' is given" in line
    arguments = ("--task", "f", "--data", flowers, "--output", tmp_path / "x.safetensors", "--device", "cpu")
    line = refused("finetune", *arguments, "--base", clip / "model.safetensors", "--probe", "cosine")
    assert "made from prompts by the base's text tower" in line


def test_a_training_is_logged_where_it_is_asked_for(command, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("finetune", "--task", "my-flowers", "--data", flowers, "--base", "tiny", *QUICK)
    done = command(*given, "--logger", "csv", "--log-folder", "curves")
    assert done.status == 0, done.err
    file = tmp_path / "curves/my-flowers/version_0/metrics.csv"
    assert file.read_text().count("\n") > 12 and f"logged with csv in {file.relative_to(tmp_path).parent}" in done.out
    refused = command(*given, "--logger", "comet")
    assert refused.status == 2 and "comet" in refused.err
