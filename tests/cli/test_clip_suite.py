"""A miniature of the hub - checkpoints as transformers writes them, parquet with image bytes - through every verb."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import ClassLabel, Dataset, Features, Image, Value
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image as Picture
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

from mergebench.cli import main
from mergebench.results import ResultStore
from mergebench.tasks.clip import described
from mergebench.yaml_files import read_suite, read_zoo

TASKS = read_suite("clip-8").merge
TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256}
# Those with few prompts: the reference embeds each to its last token.
PROBED = ("sun397", "eurosat", "svhn", "mnist", "dtd")
# timm's names for a tower as small.
OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 1}


def encoded(rng: np.random.Generator, label: int) -> bytes:
    """A picture whose colour and size depend on its label a little: PNG or JPEG, colour or grey."""
    height, width = rng.integers(20, 60, 2)
    pixels = rng.integers(0, 200, (height, width, 3)) + np.array([label * 7 % 50, label * 13 % 50, label * 29 % 50])
    picture = Picture.fromarray(pixels.astype(np.uint8))
    file = io.BytesIO()
    (picture.convert("L") if label % 5 == 0 else picture).save(file, ("PNG", "JPEG")[label % 2])
    return file.getvalue()


def write_data(folder: Path, card, count: int, rng: np.random.Generator) -> None:
    """A data set as the hub holds it, its labels numbered otherwise than the card's."""
    order = rng.permutation(len(card.classes))
    names = [card.classes[i].upper().replace(" ", "_") for i in order]
    features = Features({card.image: Image(), card.label: ClassLabel(names=names), "id": Value("int64")})
    for split in ("train", "test"):
        # Every class is there, then as many as it takes.
        labels = np.concatenate([np.arange(len(names)), rng.integers(0, len(names), count)])
        images = [{"bytes": encoded(rng, int(order[label])), "path": None} for label in labels]
        columns = {card.image: images, card.label: labels.tolist(), "id": list(range(len(labels)))}
        data = Dataset.from_dict(columns, features=features)
        path = folder / card.subset / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The hub's folder, and the zoo that looks at it: the published one, but for sizes."""
    root = tmp_path_factory.mktemp("hub")
    published = read_zoo("clip-vit-b-32")
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=TOWER | {"eos_token_id": 49407},
        vision_config=TOWER | {"image_size": 32, "patch_size": 16},
        projection_dim=32,
    )
    base = CLIPModel(config)
    base.save_pretrained(root / published.base)
    rng = np.random.default_rng(0)
    tasks = {}
    for task in TASKS:
        expert = CLIPVisionModel(config.vision_config)
        expert.load_state_dict(
            {n: t + 0.02 * torch.randn_like(t) for n, t in base.vision_model.state_dict().items()}
            if not any(n.startswith("vision_model.") for n in expert.state_dict())
            else {
                f"vision_model.{n}": t + 0.02 * torch.randn_like(t) for n, t in base.vision_model.state_dict().items()
            }
        )
        expert.save_pretrained(root / published.expert_of(task))
        card = described(task)
        write_data(root / "datasets" / card.data, card, 60, rng)
        count = len(card.classes) + 60
        tasks[task] = card.model_dump(exclude_defaults=True) | {"counts": {"train": count, "test": count}}
    zoo = root / "mini-clip.yaml"
    fields = published.model_dump(exclude_defaults=True) | {"options": OPTIONS, "tasks": tasks}
    zoo.write_text(yaml.safe_dump(fields, sort_keys=False))
    return root, zoo


@pytest.fixture(scope="module")
def where(hub):
    """The options that name the miniature."""
    return ["--suite", "clip-8", "--zoo", str(hub[1]), "--zoo-root", str(hub[0])]


@pytest.fixture(scope="module")
def results(where, tmp_path_factory):
    """Fetched, merged with a method of every kind, evaluated."""
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        assert main(["fetch", *where]) == 0
        few = ["--set", "regmean.samples=8", "regmean++.samples=8"]
        methods = ["average", "task_arithmetic", "regmean", "regmean++"]
        assert main(["run", "--methods", *methods, *where, *few, "--out", str(out)]) == 0
    return out


def pipeline_counts(root: Path) -> dict[str, tuple[int, int]]:
    """Correct and all test images for the experts' average, by transformers, datasets and torchvision alone."""
    zoo = read_zoo("clip-vit-b-32")
    model = CLIPModel.from_pretrained(root / zoo.base).eval()
    states = [CLIPVisionModel.from_pretrained(root / zoo.expert_of(t)).state_dict() for t in TASKS]
    vision = CLIPVisionModel(model.config.vision_config).eval()
    vision.load_state_dict({n: torch.stack([s[n] for s in states]).mean(0) for n in states[0]})
    look = Compose(
        [
            Resize(32, interpolation=InterpolationMode.BICUBIC),
            CenterCrop(32),
            ToTensor(),
            Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    tokens, counts = SimpleTokenizer(), {}
    for task in PROBED:
        card = described(task)
        rows = []
        for name in card.classes:
            with torch.no_grad():
                features = model.get_text_features(tokens([t.format(name) for t in card.templates]))
            features = getattr(features, "pooler_output", features)
            rows.append((features / features.norm(dim=-1, keepdim=True)).mean(0))
        data = Dataset.from_parquet(str(root / "datasets" / card.data / card.subset / "test-00000-of-00001.parquet"))
        images = torch.stack([look(picture.convert("RGB")) for picture in data[card.image]])
        named = [data.features[card.label].int2str(label) for label in data[card.label]]
        labels = [[c.upper().replace(" ", "_") for c in card.classes].index(name) for name in named]
        with torch.no_grad():
            embedded = model.visual_projection(vision(images).pooler_output)
        predicted = (embedded @ torch.nn.functional.normalize(torch.stack(rows), dim=-1).T).argmax(-1)
        counts[task] = (int((predicted == torch.tensor(labels)).sum()), len(labels))
    return counts


def test_counts_are_those_of_the_reference_pipeline(hub, results):
    (average,) = (r for r in ResultStore(results).all() if r.method == "average")
    counts = {t: (s.correct, s.total) for t, s in average.tasks.items()}
    assert {t: counts[t] for t in PROBED} == pipeline_counts(hub[0])


def test_every_method_is_on_the_leaderboard(results, command):
    done = command("leaderboard", "--out", results)
    assert done.status == 0
    for title in ("RegMean++", "RegMean", "Task Arithmetic", "Simple Averaging", "Fine-tuned experts"):
        assert title in done.out
    assert "sun397" in (results / "leaderboard.html").read_text()


def test_a_second_run_computes_nothing(where, results, command):
    done = command("run", "--methods", "average", *where, "--out", results)
    assert done.status == 0 and "0 cells computed" in done.out
