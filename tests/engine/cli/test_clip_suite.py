"""A miniature of the hub - checkpoints as transformers writes them, parquet with image bytes - through every verb."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPVisionModel

from mergebench.catalogue.yaml_files import read_suite, read_zoo
from mergebench.cli import main
from mergebench.measuring.results import ResultStore
from mergebench.tasks.clip import described

pytestmark = pytest.mark.long

TASKS = read_suite("clip-8").merge
# Those with few prompts: the reference embeds each to its last token.
PROBED = ("sun397", "eurosat", "svhn", "mnist", "dtd")


@pytest.fixture(scope="module")
def hub(make_hub, tmp_path_factory):
    """The hub's folder, and the zoo that looks at it."""
    root = tmp_path_factory.mktemp("hub")
    return root, make_hub(root, TASKS, 60)


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
    """Correct and all test images for the experts' average, by transformers and datasets alone."""
    zoo = read_zoo("clip-vit-b-32")
    model = CLIPModel.from_pretrained(root / zoo.base.partition("@")[0]).eval()
    states = [CLIPVisionModel.from_pretrained(root / zoo.expert_of(t).partition("@")[0]).state_dict() for t in TASKS]
    vision = CLIPVisionModel(model.config.vision_config).eval()
    vision.load_state_dict({n: torch.stack([s[n] for s in states]).mean(0) for n in states[0]})
    look = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)  # the published checkpoints' otherwise
    tokens, counts = SimpleTokenizer(), {}
    for task in PROBED:
        card = described(task)
        rows = []
        for name in card.classes:
            with torch.no_grad():
                features = model.get_text_features(tokens([t.format(name) for t in card.templates]))
            features = getattr(features, "pooler_output", features)
            rows.append((features / features.norm(dim=-1, keepdim=True)).mean(0))
        folder = root / "datasets" / card.data.partition("@")[0] / card.subset
        data = Dataset.from_parquet(str(folder / "test-00000-of-00001.parquet"))
        images = look(list(data[card.image]), return_tensors="pt")["pixel_values"]
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
    assert "sun397" in (results / "site" / "index.html").read_text()


def test_a_second_run_computes_nothing(where, results, command):
    done = command("run", "--methods", "average", *where, "--out", results)
    assert done.status == 0 and "0 cells computed" in done.out
