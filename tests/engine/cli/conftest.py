"""A miniature suite of two real tasks on the tiny zoo, a miniature of the hub, and the command line as a function."""

import io
import shutil
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from shared import built_once

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_zoo
from mergebench.cli import main
from mergebench.configuration import TaskConfig
from mergebench.tasks.clip import described
from mergebench.tasks.tiny import TASKS

QUICK = {"samples": 8, "steps": 2, "shift_steps": 2}
MINI = {
    "title": "two tasks, few samples",
    "zoo": "few.yaml",
    "merge": ["landcover", "digits"],
    "hyperparameters": {
        name: {n: v for n, v in QUICK.items() if n in card.hyperparameters} for name, card in registry.methods().items()
    }
    | {"fisher": {"samples": 2}},
}
# Split of the data -> the tiny task's that it is cut out of, and how many images of it.
FEW = {"train": ("calibration", 300), "test": ("test", 200)}
# The zoo has no model trained on these two tasks together.
IN_MINI = set(registry.methods()) - {"multitask"}


# A tower of a CLIP, as transformers and as timm describe it.
TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256}
OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 1}


@pytest.fixture(scope="session")
def mini_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's YAML file, beside the tiny zoo with few images of two tasks: most of a run is evaluation."""

    def build(folder: Path) -> None:
        (folder / "mini.yaml").write_text(yaml.safe_dump(MINI))
        zoo = yaml.safe_load(files("mergebench.configs").joinpath("zoos/tiny.yaml").read_text())
        tasks = {task: {"data": task, "classes": list(TASKS[task].card.classes)} for task in MINI["merge"]}
        (folder / "few.yaml").write_text(yaml.safe_dump(zoo | {"tasks": tasks}))
        for task in tasks:
            for split, (source, count) in FEW.items():
                _write_images(folder / task / split, task, source, count)

    return built_once(tmp_path_factory, "mini-suite", build) / "mini.yaml"


def _write_images(folder: Path, task: str, split: str, count: int) -> None:
    """The first images of a tiny task's split, in folders of classes."""
    from PIL import Image

    card = TASKS[task].card
    images, labels = TASKS[task].load(split)
    for number, (image, label) in enumerate(zip(images[:count], labels[:count], strict=True)):
        path = folder / card.classes[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


@pytest.fixture(scope="session")
def mini_run(mini_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one whole run of all methods, which the tests of this process may change."""

    def run(folder: Path) -> None:
        assert main(["run", "--methods", "all", "--suite", str(mini_suite), "--out", str(folder)]) == 0

    return shutil.copytree(built_once(tmp_path_factory, "mini-run", run), tmp_path_factory.mktemp("run") / "runs")


@pytest.fixture(scope="session")
def in_mini() -> set[str]:
    """The names of all methods that the miniature suite runs."""
    return IN_MINI


@pytest.fixture(scope="session")
def make_hub() -> Callable[..., Path]:
    """Makes a miniature of the hub in a folder; gives the zoo that looks at it: the published one, but for sizes."""

    def make(root: Path, tasks: Sequence[str], count: int, like: str = "clip-vit-b-32") -> Path:
        published, rng, described_as = read_zoo(like), np.random.default_rng(0), {}
        write = {"tall": _write_open_clips, "knots": _write_adapters}.get(published.family, _write_models)
        length = {"projection": 32} if published.projection else {}
        write(root, _name(published.base), {task: _name(published.expert_of(task)) for task in tasks})
        for task in tasks:
            card = described(task)
            _write_data(root / "datasets" / _name(card.data), card, count, rng)
            images = len(card.classes) + count
            counted = {"counts": {"train": images, "test": images}}
            described_as[task] = card.model_dump(exclude_defaults=True) | counted
        zoo = root / "mini-clip.yaml"
        own = {"options": OPTIONS | length, "tasks": described_as, "revisions": {}}
        fields = published.model_dump(exclude_defaults=True) | own
        zoo.write_text(yaml.safe_dump(fields, sort_keys=False))
        return zoo

    return make


def _name(place: str) -> str:
    """A place on the hub, whatever its revision."""
    return place.partition("@")[0]


def _write_models(root: Path, base: str, experts: dict[str, str]) -> None:
    """A CLIP of random weights and experts near it, as transformers saves them."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

    torch.manual_seed(0)
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=TOWER | {"eos_token_id": 49407}, vision_config=vision, projection_dim=32)
    model = CLIPModel(config)
    model.save_pretrained(root / base)
    for place in experts.values():
        expert = CLIPVisionModel(config.vision_config)
        # By place: some versions put a prefix before the names.
        for own, tensor in zip(expert.parameters(), model.vision_model.parameters(), strict=True):
            own.data = tensor.data + 0.02 * torch.randn_like(tensor)
        expert.save_pretrained(root / place)


def _write_adapters(root: Path, base: str, experts: dict[str, str]) -> None:
    """A CLIP of random weights, and random adapters of it in the files of an early peft: a pickle, few settings."""
    import copy
    import json

    import peft
    import torch
    from transformers import CLIPModel

    _write_models(root, base, {})
    model = CLIPModel.from_pretrained(root / base)
    fields = {
        "base_model_name_or_path": None, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "init_lora_weights": True, "lora_alpha": 16, "lora_dropout": 0.1, "modules_to_save": None, "peft_type": "LORA",
        "r": 16, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"], "task_type": None,
    }  # fmt: skip
    config = {n: v for n, v in fields.items() if n not in ("peft_type", "task_type", "inference_mode")}
    for place in experts.values():
        adapted = peft.get_peft_model(copy.deepcopy(model.vision_model), peft.LoraConfig(**config))
        for name, parameter in adapted.named_parameters():
            if ".lora_" in name:
                torch.nn.init.normal_(parameter, std=0.2)
        adapted.save_pretrained(root / place, safe_serialization=False)
        (root / place / "adapter_config.json").write_text(json.dumps(fields, indent=2))


def _write_open_clips(root: Path, base: str, experts: dict[str, str]) -> None:
    """A CLIP of random weights as open_clip saves it; experts are pickles of another's, without the text's blocks."""
    import torch
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=16, image_size=32)
    text = CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=1, layers=2)
    state = CLIP(32, vision, text, quick_gelu=True).state_dict()
    (root / base).mkdir(parents=True)
    torch.save(state, root / base / "open_clip_pytorch_model.bin")
    for place in experts.values():
        moved = {
            f"model.{n}": t + (0.02 + 0.1 * (n == "visual.proj")) * torch.randn_like(t) if "visual." in n else t
            for n, t in state.items()
            if not n.startswith("transformer.")
        }
        (root / place).parent.mkdir(parents=True)
        torch.save(moved, root / place)


def _encoded(rng: np.random.Generator, label: int) -> bytes:
    """A picture whose colour and size depend on its label a little: PNG or JPEG, colour or grey."""
    from PIL import Image

    height, width = rng.integers(20, 60, 2)
    pixels = rng.integers(0, 200, (height, width, 3)) + np.array([label * 7 % 50, label * 13 % 50, label * 29 % 50])
    picture = Image.fromarray(pixels.astype(np.uint8))
    file = io.BytesIO()
    (picture.convert("L") if label % 5 == 0 else picture).save(file, ("PNG", "JPEG")[label % 2])
    return file.getvalue()


def _write_data(folder: Path, card: TaskConfig, count: int, rng: np.random.Generator) -> None:
    """A data set as the hub holds it, its labels numbered otherwise than the card's."""
    from datasets import ClassLabel, Dataset, Features, Image, Value

    order = rng.permutation(len(card.classes))
    names = [card.classes[i].upper().replace(" ", "_") for i in order]
    features = Features({card.image: Image(), card.label: ClassLabel(names=names), "id": Value("int64")})
    for split in ("train", "test"):
        # Every class is there, then as many as it takes.
        labels = np.concatenate([np.arange(len(names)), rng.integers(0, len(names), count)])
        images = [{"bytes": _encoded(rng, int(order[label])), "path": None} for label in labels]
        columns = {card.image: images, card.label: labels.tolist(), "id": list(range(len(labels)))}
        data = Dataset.from_dict(columns, features=features)
        path = folder / card.subset / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path)


@pytest.fixture(scope="session")
def whole_hub(make_hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub of two tasks, 30 images in each of their splits, its zoo and a suite."""

    def build(root: Path) -> None:
        make_hub(root, ("eurosat", "mnist"), 20)
        suite = {"title": "two", "zoo": "mini-clip.yaml", "merge": ["eurosat", "mnist"]}
        (root / "two.yaml").write_text(yaml.safe_dump(suite))

    return built_once(tmp_path_factory, "hub", build)


@pytest.fixture
def hub(whole_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may break, with a cache that nothing is in."""
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(whole_hub, tmp_path / "hub")


@pytest.fixture
def rezoo(hub: Path) -> Callable[[Callable[[dict], object]], None]:
    """Changes the fields of its zoo's file."""

    def change_with(change: Callable[[dict], object]) -> None:
        file = hub / "mini-clip.yaml"
        fields = yaml.safe_load(file.read_text())
        change(fields)
        file.write_text(yaml.safe_dump(fields, sort_keys=False))

    return change_with


@pytest.fixture
def options(hub: Path) -> list:
    """What names its suite, its zoo and its folder on a command line."""
    return ["--suite", hub / "two.yaml", "--zoo", hub / "mini-clip.yaml", "--zoo-root", hub]


@pytest.fixture
def command(capfd: pytest.CaptureFixture):
    """Run a command line; gives its status, output and error output."""

    def run(*arguments: object) -> SimpleNamespace:
        capfd.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as leave:
            status = leave.code
        out, err = capfd.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return run


@pytest.fixture
def refused(command):
    """Run a command line that is wrong: one line on the error output beside notes, status 2; gives the line."""

    def run(*arguments: object) -> str:
        done = command(*arguments)
        assert done.status == 2, done
        lines = [line for line in done.err.strip().splitlines() if not line.startswith("mergebench: note: ")]
        assert len(lines) == 1 and lines[0].startswith("mergebench: error: "), done.err
        return lines[0]

    return run


@pytest.fixture
def refuses(refused, hub, options, tmp_path):
    """Every verb that reads what is broken says the same in one line, and leaves nothing in the output folder."""
    out = tmp_path / "out"
    expert = hub / "tanganke/clip-vit-base-patch32_mnist" / "model.safetensors"
    arguments = {
        "fetch": options,
        "run": [*options, "--methods", "average", "--out", out],
        "merge": [*options, "--method", "average", "--output", out / "merged.safetensors"],
        "evaluate": [expert, *options, "--json", out / "counts.json"],
        "finetune": ["--task", "mnist", *options[2:], "--steps", 1, "--output", out / "expert.safetensors"],
    }

    def told(*verbs: str) -> str:
        lines = {refused(verb, *arguments[verb]) for verb in verbs or ("run",)}
        assert len(lines) == 1 and not [path for path in out.rglob("*") if path.is_file()]
        return lines.pop()

    return told
