"""`merge` for practitioners: checkpoints of one's own, in any dialect, with folders of images and nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import load_checkpoint
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import CLIPVisionConfig, CLIPVisionModel

import mergebench
from mergebench.configuration import TaskConfig
from mergebench.data.described import make_task
from mergebench.data.task import Place
from mergebench.weights import formats

TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 128}
NAME = "vit_base_patch16_clip_quickgelu_224"
OPTIONS = {"img_size": 32, "embed_dim": 64, "depth": 2, "num_heads": 1, "mlp_ratio": 2.0}
LOOK = Compose(
    [
        Resize(32, interpolation=InterpolationMode.BICUBIC),
        CenterCrop(32),
        ToTensor(),
        Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ]
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A base as transformers saves it, experts in three dialects, folders of which 4, 6 and 5 images calibrate."""
    folder = tmp_path_factory.mktemp("own")
    torch.manual_seed(0)
    base = CLIPVisionModel(CLIPVisionConfig(**TOWER, image_size=32, patch_size=16))
    base.save_pretrained(folder / "base")
    saved = load_file(folder / "base" / "model.safetensors")
    own = formats.as_timm(saved, "the base")
    experts = {}
    for name, dialect in (("birds", "hf"), ("cars", "open_clip"), ("dogs", "timm")):
        experts[name] = {n: t + 0.05 * torch.randn_like(t) for n, t in own.items()}
        save_file(formats.from_timm(experts[name], dialect), folder / f"{name}.safetensors")
    rng = np.random.default_rng(0)
    for name, count in (("birds", 20), ("cars", 28), ("dogs", 24)):
        for number in range(count):
            path = folder / "images" / name / ("a", "b")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return folder, dict(own), experts


@pytest.fixture
def merge(files, tmp_path, command):
    """The one-liner; gives what was written, its recipe and what was printed."""
    folder = files[0]

    def run(method, *more, calibration=True, output="merged.safetensors"):
        arguments = ["--base", folder / "base" / "model.safetensors"]
        arguments += ["--experts", *(folder / f"{n}.safetensors" for n in ("birds", "cars", "dogs"))]
        if calibration:
            arguments += ["--calibration", *(folder / "images" / n for n in ("birds", "cars", "dogs"))]
        done = command("merge", "--method", method, *arguments, "--output", tmp_path / output, *more)
        assert done.status == 0, done
        state = formats.open_weights(tmp_path / output)
        return dict(state), json.loads(state.metadata["recipe"]), done.out

    return run


def split_of(folder, split):
    """The files of one split of the task whose data a folder is."""
    table = make_task("own", TaskConfig(data=str(folder)), Path()).at(Place(32, allow_duplicates=True)).load(split)
    return [table.told(index) for index in range(len(table.labels))]


def encoder():
    return timm.create_model(NAME, num_classes=0, **OPTIONS)


def test_experts_of_three_dialects_are_averaged(merge, files):
    merged, recipe, _ = merge("average", calibration=False)
    for name, tensor in merged.items():
        expected = torch.stack([expert[name] for expert in files[2].values()]).mean(0)
        torch.testing.assert_close(tensor, expected)
    assert set(recipe["experts"]) == {"birds", "cars", "dogs"} and recipe["method"] == "average"


@pytest.mark.parametrize("method", ["regmean", "regmean++"])
def test_the_one_liner_gives_what_the_library_gives(merge, files, method):
    """On the same images, in whatever order; `samples` comes down to the smallest folder's number."""
    merged, recipe, told = merge(method)
    assert "samples=4" in told and recipe["hyperparameters"]["samples"] == 4
    assert recipe["encoder"] == {"name": NAME, "options": OPTIONS}
    folder, base, experts = files
    model = encoder()
    model.load_state_dict(base)
    images = {name: split_of(folder / "images" / name, "calibration") for name in experts}
    assert {name: len(paths) for name, paths in images.items()} == {"birds": 4, "cars": 6, "dogs": 5}
    several = {n: [torch.stack([LOOK(Image.open(p)) for p in paths[:4]])] for n, paths in images.items()}
    expected = mergebench.merge(method, model.eval(), experts, calibration=several)
    # birds has four such images, all of which were drawn; of the others, another four may have been.
    assert not all(torch.allclose(merged[n], expected[n], atol=1e-5) for n in merged)
    merged, _, _ = merge(method, "--calibration", *(folder / "images" / "birds" for _ in experts))
    expected = mergebench.merge(method, model, experts, calibration=dict.fromkeys(experts, several["birds"]))
    for name in merged:
        torch.testing.assert_close(merged[name], expected[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "test")], ids=" and ".join)
def test_images_that_the_folder_sets_aside_for_testing_decide_nothing(splits, merge, files, tmp_path, command):
    """Whatever they show, what is merged is the same; those for calibration count."""
    own = tmp_path / "birds"
    for split, whose in zip(splits or ("",), ("birds", "cars"), strict=False):
        shutil.copytree(files[0] / "images" / whose, own / split)

    def merged():
        return merge("regmean", "--calibration", *[own] * 3, "--set", "samples=4")[0]

    before = merged()
    for path in (*split_of(own, "test"), *split_of(own, "validation"), *split_of(own, "train")):
        Image.new("RGB", (40, 50), "red").save(path)
    same = merged()
    assert all(torch.equal(same[name], tensor) for name, tensor in before.items())
    for path in split_of(own, "calibration"):
        Image.new("RGB", (40, 50), "red").save(path)
    other = merged()
    assert not all(torch.equal(other[name], tensor) for name, tensor in before.items())


def test_the_header_tells_the_pixels_that_entered_by_a_hash(merge, files, tmp_path):
    """Whatever the folder is called, and whatever else lies in it."""
    own = tmp_path / "elsewhere"
    shutil.copytree(files[0] / "images" / "birds", own)

    def hashes(method="regmean", *folders):
        return merge(method, "--calibration", *(folders or [own] * 3), "--set", "samples=4")[1]["images"]

    first = hashes()
    assert first.keys() == {"birds", "cars", "dogs"} and len(set(first.values())) == 1
    assert hashes("regmean++", own, *[files[0] / "images" / "birds"] * 2) == first
    for path in split_of(own, "test"):
        Image.new("RGB", (40, 50), "red").save(path)
    assert hashes() == first
    Image.new("RGB", (40, 50), "red").save(split_of(own, "calibration")[0])
    assert not set(hashes().values()) & set(first.values())
    assert merge("average")[1]["images"] == {}


def test_what_is_written_loads_in_timm_as_it_is(merge, tmp_path):
    merged, _, _ = merge("average", calibration=False)
    model = encoder()
    load_checkpoint(model, str(tmp_path / "merged.safetensors"), strict=True)
    assert all(torch.equal(t, merged[n]) for n, t in model.state_dict().items())


def test_what_is_written_loads_in_transformers_and_open_clip(merge, tmp_path):
    from open_clip.transformer import QuickGELU, VisionTransformer

    merged, _, _ = merge("average", calibration=False)
    images = torch.randn(2, 3, 32, 32)
    model = encoder().eval()
    model.load_state_dict(merged)
    with torch.no_grad():
        expected = model(images)
    hf, _, _ = merge("average", "--format", "hf", calibration=False, output="hf.safetensors")
    tower = CLIPVisionModel(CLIPVisionConfig(**TOWER, image_size=32, patch_size=16)).eval()
    names = set(tower.state_dict())
    hf = hf if names == set(hf) else {n.removeprefix("vision_model."): t for n, t in hf.items()}
    tower.load_state_dict(hf, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(tower(images).pooler_output, expected, atol=1e-5, rtol=0)
    packed, _, _ = merge("average", "--format", "open_clip", calibration=False, output="oc.safetensors")
    visual = VisionTransformer(32, 16, 64, 2, 1, 2.0, output_dim=8, act_layer=QuickGELU).eval()
    wanted = {n: t for n, t in visual.state_dict().items() if n == "proj"}
    visual.load_state_dict({n.removeprefix("visual."): t for n, t in packed.items()} | wanted, strict=True)
    with torch.no_grad():
        got = visual(images)
    torch.testing.assert_close(got, expected @ wanted["proj"], atol=1e-4, rtol=0)


def test_labels_are_the_folders_names_and_heads_are_files(files, merge, tmp_path):
    """Fisher's default needs heads: a linear head, as `finetune` writes it, serves."""
    heads = []
    for name in ("birds", "cars", "dogs"):
        heads.append(tmp_path / f"{name}.head.safetensors")
        save_file({"weight": torch.randn(2, 64), "bias": torch.zeros(2)}, heads[-1])
    merged, recipe, _ = merge("fisher", "--heads", *heads, "--set", "samples=4")
    assert recipe["hyperparameters"]["samples"] == 4 and len(merged) > 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--calibration", "{images}/birds"), "--calibration: 1 for 3 experts"),
        (("--calibration", "{images}/birds", "{images}/cars", "{images}/nothing"), "no folder of images at"),
        (("--calibration", "{images}/birds", "{images}/cars", "{base}"), "holds no images"),
        ((), "needs images: give --calibration"),
        (("--method", "average", "--encoder", "vit_base_patch32_clip_quickgelu_224"), "is (1, 1, 64)"),
        (("--method", "average", "--encoder", "vit_nothing"), "unknown timm model"),
        (("--calibration", "{images}/birds", "x={images}/cars", "{images}/dogs"), "give one for each"),
    ],
)
def test_what_does_not_fit_is_refused(files, refused, tmp_path, arguments, told):
    folder = files[0]
    fill = {"images": folder / "images", "base": folder / "base"}
    line = refused(
        *("merge", "--method", "regmean++", "--base", folder / "base" / "model.safetensors", "--experts"),
        *(folder / f"{n}.safetensors" for n in ("birds", "cars", "dogs")),
        *(str(a).format(**fill) for a in arguments),
        *("--output", tmp_path / "merged.safetensors"),
    )
    assert told in line and not (tmp_path / "merged.safetensors").exists()


def test_an_encoder_that_no_file_tells_must_be_named_where_images_matter(files, refused, command, tmp_path):
    folder, base, _ = files
    save_file({n: t.contiguous() for n, t in base.items()}, tmp_path / "bare.safetensors")
    save_file({n: t.contiguous() for n, t in base.items()}, tmp_path / "expert.safetensors")
    own = ("--base", tmp_path / "bare.safetensors", "--experts", tmp_path / "expert.safetensors")
    merged = tmp_path / "merged.safetensors"
    line = refused("merge", "--method", "regmean", *own, "--calibration", folder / "images/birds", "--output", merged)
    assert "give --encoder" in line and NAME in line
    assert command("merge", "--method", "average", *own, "--output", merged).status == 0
    assert refused("merge", "--method", "regmean", "--calibration", folder, "--output", merged).count("--base")


def test_a_broken_image_is_named(files, refused, tmp_path):
    folder = files[0]
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"no picture")
    line = refused(
        *("merge", "--method", "regmean", "--base", folder / "base" / "model.safetensors"),
        *("--experts", folder / "birds.safetensors", "--calibration", tmp_path / "images"),
        *("--output", tmp_path / "merged.safetensors"),
    )
    assert str(tmp_path / "images") in line


def test_code_that_a_file_names_is_not_run(files, refused, tmp_path):
    folder, base, _ = files
    recipe = {"encoder": {"name": "os:system", "options": {"command": f"touch {tmp_path / 'ran'}"}}}
    save_file(base, tmp_path / "base.safetensors", {"recipe": json.dumps(recipe)})
    line = refused(
        *("merge", "--method", "average", "--base", tmp_path / "base.safetensors"),
        *("--experts", folder / "birds.safetensors", "--output", tmp_path / "merged.safetensors"),
    )
    assert "os:system" in line and "--encoder" in line and not (tmp_path / "ran").exists()


def test_a_registered_zoo_s_base_can_be_named(command, tmp_path):
    from mergebench.zoo.zoo import Zoo

    tiny = Zoo("tiny")
    experts = [tiny.files.root / "experts" / f"{task}.safetensors" for task in ("digits", "signs")]
    done = command(
        "merge",
        "--method",
        "task_arithmetic",
        "--base",
        "tiny",
        "--experts",
        *experts,
        "--output",
        tmp_path / "m.safetensors",
    )
    assert done.status == 0
    merged, expected = load_file(tmp_path / "m.safetensors"), tiny.base
    for name, tensor in merged.items():
        shifts = sum(load_file(expert)[name].float() - expected[name].float() for expert in experts)
        torch.testing.assert_close(tensor, (expected[name].float() + 0.3 * shifts).to(expected[name].dtype))


def test_a_format_that_cannot_hold_the_encoder_is_refused_before_the_work(refused, tmp_path, monkeypatch):
    from mergebench.running.execution import Executor

    monkeypatch.setattr(Executor, "merge", lambda *_: pytest.fail("it was merged"))
    line = refused("merge", "--method", "average", "--format", "hf", "--output", tmp_path / "merged.safetensors")
    assert "cannot be written as hf" in line


@pytest.mark.parametrize("item", ["=a.safetensors", "a="])
def test_an_expert_needs_a_name_and_a_file(refused, tmp_path, item):
    output = tmp_path / "merged.safetensors"
    line = refused("merge", "--method", "average", "--base", "b", "--experts", item, "--output", output)
    assert f"{item!r} is no expert; write FILE, or NAME=FILE" in line


def test_a_folder_takes_the_hub_s_place(files, command, tmp_path):
    folder = files[0]
    shutil.copytree(folder / "base", tmp_path / "hub/me/base")
    (tmp_path / "hub/me/birds").mkdir()
    shutil.copy(folder / "birds.safetensors", tmp_path / "hub/me/birds/model.safetensors")
    merge = ("merge", "--method", "average", "--base", "me/base", "--experts", "me/birds", folder / "cars.safetensors")
    output = ("--output", tmp_path / "merged.safetensors")
    assert command(*merge, "--zoo-root", tmp_path / "hub", *output).status == 0
    done = command(*merge, "--zoo-root", tmp_path / "nowhere", *output)
    assert done.status == 2 and f"no folder in the hub's place at {tmp_path / 'nowhere'}" in done.err


def test_no_input_is_written_over(files, refused, tmp_path):
    expert = shutil.copy(files[0] / "birds.safetensors", tmp_path / "birds.safetensors")
    base = files[0] / "base" / "model.safetensors"
    before = Path(expert).read_bytes()
    (tmp_path / "link.safetensors").symlink_to(expert)
    for output in (expert, tmp_path / "link.safetensors"):
        line = refused("merge", "--method", "average", "--base", base, "--experts", expert, "--output", output)
        assert f"--output {output}: what is made from it would take its place" in line
    assert Path(expert).read_bytes() == before


def test_a_path_may_hold_an_equals_sign(files, command, tmp_path):
    (tmp_path / "lr=1").mkdir()
    expert = shutil.copy(files[0] / "birds.safetensors", tmp_path / "lr=1" / "birds.safetensors")
    base, output = files[0] / "base" / "model.safetensors", tmp_path / "merged.safetensors"
    assert command("merge", "--method", "average", "--base", base, "--experts", expert, "--output", output).status == 0


def test_experts_of_nobody_knows_which_base_are_refused(files, refused, tmp_path):
    """Not merged into the tiny zoo's, whose shapes they may well have."""
    experts = ("--experts", files[0] / "birds.safetensors", files[0] / "cars.safetensors")
    output = tmp_path / "merged.safetensors"
    line = refused("merge", "--method", "average", *experts, "--output", output)
    assert "--experts: say what they were fine-tuned from, --base FILE; or whose experts they replace, --suite" in line
    assert not output.exists()


def test_experts_that_look_odd_are_told_and_merged(files, command, tmp_path):
    folder, _, _ = files
    shutil.copy(folder / "birds.safetensors", tmp_path / "again.safetensors")
    experts = (folder / "birds.safetensors", tmp_path / "again.safetensors")
    done = command(
        "merge",
        "--method",
        "average",
        "--base",
        folder / "base",
        "--experts",
        *experts,
        "--output",
        tmp_path / "m.safetensors",
    )
    assert done.status == 0 and "birds" in done.err and "again" in done.err, done


def test_recentring_moves_the_mean_feature_to_the_base_s_and_tells_it(merge, files):
    plain, *_ = merge("average", calibration=False)
    merged, recipe, told = merge("average", "--recentre")
    assert [n for n, t in merged.items() if not torch.equal(t, plain[n])] == ["norm.bias"]
    assert recipe["recentred"] == {"bias": "norm.bias", "samples": 4} and set(recipe["drawn"]) == set(files[2])
    line = next(line for line in told.splitlines() if line.startswith("recentred by norm.bias on 4 images a task"))
    assert "now 0.00" in line and all(f"{name} " in line for name in files[2])


def test_recentring_without_images_is_refused(refused, files, tmp_path):
    experts = [files[0] / f"{n}.safetensors" for n in ("birds", "cars")]
    arguments = ("--base", files[0] / "base" / "model.safetensors", "--experts", *experts, "--recentre")
    line = refused("merge", "--method", "average", *arguments, "--output", tmp_path / "m.safetensors")
    assert "--recentre needs images: give --calibration" in line
