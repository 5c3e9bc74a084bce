"""A miniature of the TALL family: files inside one repository, each expert with a projection of its own."""

import functools
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import image_transform
from PIL import Image
from safetensors.torch import load_file

from mergebench.catalogue.yaml_files import read_zoo
from mergebench.cli import main
from mergebench.measuring.results import ResultStore
from mergebench.tasks.clip import described
from mergebench.zoo.zoo import Zoo

pytestmark = pytest.mark.long

TASKS = ("eurosat", "mnist", "svhn")
PUBLISHED = read_zoo("tall-vit-b-32")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def root(make_hub, tmp_path_factory):
    """The hub's folder, with the zoo and a suite in it."""
    folder = tmp_path_factory.mktemp("hub")
    make_hub(folder, TASKS, 60, "tall-vit-b-32")
    (folder / "three.yaml").write_text(yaml.safe_dump({"title": "three", "zoo": "mini-clip.yaml", "merge": [*TASKS]}))
    return folder


@pytest.fixture(scope="module")
def where(root):
    """The options that name them."""
    return ["--suite", str(root / "three.yaml"), "--zoo", str(root / "mini-clip.yaml"), "--zoo-root", str(root)]


@pytest.fixture(scope="module")
def results(where, tmp_path_factory):
    """Merged with methods of several kinds, evaluated."""
    out = tmp_path_factory.mktemp("run")
    few = ["--set", "regmean.samples=8", "regmean++.samples=8"]
    methods = ["references", "average", "iso_c", "regmean", "regmean++"]
    assert main(["run", "--methods", *methods, *where, *few, "--out", str(out)]) == 0
    return {r.method: r for r in ResultStore(out).all()}


def middle(image: Image.Image) -> Image.Image:
    """The centre; of half a pixel the cut goes where this project has it, which open_clip has in three of four."""
    left, top = ((side - 32) // 2 for side in image.size)
    return image.crop((left, top, left + 32, top + 32))


class Pipeline:
    """open_clip alone, with one image tower for each task."""

    def __init__(self, root: Path) -> None:
        vision = CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=16, image_size=32)
        text = CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=1, layers=2)
        self.model = CLIP(32, vision, text, quick_gelu=True).eval()
        base = root / PUBLISHED.base.partition("@")[0] / "open_clip_pytorch_model.bin"
        self.base = torch.load(base)
        self.root = root
        resize, _, *rest = image_transform(32, is_train=False, mean=MEAN, std=STD).transforms
        self.steps = (resize, middle, *rest)
        self.experts = {t: self.visual(torch.load(root / PUBLISHED.expert_of(t))) for t in TASKS}

    def visual(self, state: dict) -> dict:
        """The image tower of a model, its projection with it."""
        return {n.removeprefix("model."): t for n, t in state.items() if "visual." in n}

    def look(self, image: Image.Image) -> torch.Tensor:
        """Pixels [3, 32, 32]."""
        return functools.reduce(lambda seen, step: step(seen), self.steps, image)

    def texts(self, task: str) -> torch.Tensor:
        """Unit rows [classes, embed]."""
        rows, card = [], described(task)
        self.model.load_state_dict(self.base)
        for name in card.classes:
            with torch.no_grad():
                tokens = SimpleTokenizer()([template.format(name) for template in card.templates])
                rows.append(self.model.encode_text(tokens, normalize=True).mean(0))
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)

    def counts(self, task: str, visual: dict) -> tuple[int, int]:
        """Correct and all test images."""
        rows, card = self.texts(task), described(task)
        self.model.load_state_dict(self.base | visual)
        folder = self.root / "datasets" / card.data.partition("@")[0] / card.subset
        data = Dataset.from_parquet(str(folder / "test-00000-of-00001.parquet"))
        images = torch.stack([self.look(image) for image in data[card.image]])
        named = [data.features[card.label].int2str(label) for label in data[card.label]]
        labels = torch.tensor([[c.upper().replace(" ", "_") for c in card.classes].index(name) for name in named])
        with torch.no_grad():
            predicted = (self.model.encode_image(images, normalize=True) @ rows.T).argmax(-1)
        return int((predicted == labels).sum()), len(labels)


@pytest.fixture(scope="module")
def pipeline(root):
    return Pipeline(root)


def counted(result) -> dict[str, tuple[int, int]]:
    return {task: (score.correct, score.total) for task, score in result.tasks.items()}


def test_counts_are_those_of_open_clip_alone(pipeline, results):
    mean = {n: torch.stack([e[n] for e in pipeline.experts.values()]).mean(0) for n in pipeline.visual(pipeline.base)}
    assert counted(results["average"]) == {t: pipeline.counts(t, mean) for t in TASKS}
    assert counted(results["pretrained"]) == {t: pipeline.counts(t, {}) for t in TASKS}
    assert counted(results["finetuned"]) == {t: pipeline.counts(t, pipeline.experts[t]) for t in TASKS}
    # And not those of the base's projection behind merged blocks.
    assert counted(results["average"]) != {
        t: pipeline.counts(t, mean | {"visual.proj": pipeline.base["visual.proj"]}) for t in TASKS
    }


def test_a_head_is_the_prompts_embeddings_and_nothing_else(root, pipeline):
    zoo = Zoo(str(root / "mini-clip.yaml"), root)
    head = zoo.head("eurosat")
    assert set(head.state_dict()) == {"text_features", "logit_scale"}
    torch.testing.assert_close(head.text_features, pipeline.texts("eurosat"), rtol=1e-4, atol=1e-5)
    assert zoo.encoder.width == 32 and zoo.base["head.weight"].shape == (32, 64)


def test_results_name_the_family_and_all_methods_ran(results):
    assert {r.checkpoints["family"] for r in results.values()} == {"tall"}
    assert all(r.tasks for r in results.values())
    assert results["regmean"].diagnostics["condition"]["head"] > 0


def test_a_merge_goes_out_with_its_projection(where, command, tmp_path, pipeline):
    for form, name in (("timm", "head.weight"), ("open_clip", "visual.proj")):
        out = tmp_path / f"{form}.safetensors"
        done = command("merge", "--method", "average", *where, "--format", form, "--output", out)
        assert done.status == 0, done.err
        found = load_file(out)[name]
        mean = torch.stack([e["visual.proj"] for e in pipeline.experts.values()]).mean(0)
        torch.testing.assert_close(found, mean.T if form == "timm" else mean)
        measured = command("evaluate", out, *where)
        assert measured.status == 0, measured.err


def test_files_inside_a_repository_are_merged_without_a_zoo(root, command, tmp_path, pipeline):
    sizes = ["img_size=32", "patch_size=16", "embed_dim=64", "depth=2", "num_heads=1", "projection=32"]
    named = ["--encoder", PUBLISHED.encoder, "--encoder-options", *sizes, "--zoo-root", root]
    experts = [f"{task}={PUBLISHED.expert_of(task)}" for task in TASKS]
    out = tmp_path / "merged.safetensors"
    base = PUBLISHED.base.partition("@")[0]
    done = command("merge", "--method", "average", "--base", base, "--experts", *experts, *named, "--output", out)
    assert done.status == 0, done.err
    mean = torch.stack([e["visual.proj"] for e in pipeline.experts.values()]).mean(0)
    torch.testing.assert_close(load_file(out)["head.weight"], mean.T)


def test_finetune_trains_it_with_the_encoder(where, command, tmp_path, root):
    out = tmp_path / "expert.safetensors"
    done = command("finetune", "--task", "mnist", *where[2:], "--steps", 2, "--output", out)
    assert done.status == 0, done.err
    base = Zoo(str(root / "mini-clip.yaml"), root).base["head.weight"]
    assert not torch.equal(load_file(out)["head.weight"], base)
    again = command("evaluate", out, *where)
    assert again.status == 0, again.err


def change(root: Path, where: list[str], fields: dict, tmp_path: Path) -> list:
    """The options with another zoo's file."""
    zoo = tmp_path / "other.yaml"
    zoo.write_text(yaml.safe_dump(yaml.safe_load((root / "mini-clip.yaml").read_text()) | fields, sort_keys=False))
    return [str(zoo) if option.endswith("mini-clip.yaml") else option for option in where]


def test_its_length_is_the_base_s_where_it_is_not_named(root, where, command, tmp_path, results):
    options = {k: v for k, v in yaml.safe_load((root / "mini-clip.yaml").read_text())["options"].items() if k[0] != "p"}
    options["patch_size"] = 16
    again = change(root, where, {"options": options}, tmp_path)
    done = command("run", "--methods", "average", *again, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    (average,) = (r for r in ResultStore(tmp_path / "run").all() if r.method == "average")
    assert counted(average) == counted(results["average"])


def test_a_zoo_that_leaves_it_to_the_heads_says_what_is_left_aside(root, where, command, tmp_path):
    options = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 1}
    other = change(root, where, {"options": options, "projection": "base"}, tmp_path)
    done = command("merge", "--method", "average", *other, "--output", tmp_path / "m.safetensors")
    assert done.status == 0 and "its projection 'model.visual.proj', which is not the base's, is left aside" in done.err
    made = command("merge", "--method", "average", *where, "--output", tmp_path / "own.safetensors")
    assert made.status == 0
    # What holds a merged projection is not measured with another.
    told = command("evaluate", tmp_path / "own.safetensors", *other)
    assert told.status == 2 and "'projection': 32" in told.err


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"projection": None}, "options: projection is the length of one that is merged; say so: projection: merged"),
        ({"projection": "both"}, "projection"),
        ({"experts": "nik-dim/tall_masks/single_task/{task}/none.pt"}, "single_task/eurosat/none.pt"),
        ({"base": "clip-vit-b-32"}, "projection: merged, but not in zoo 'clip-vit-b-32'"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(root, where, refused, tmp_path, fields, told):
    line = refused("run", "--methods", "average", *change(root, where, fields, tmp_path), "--out", tmp_path / "run")
    assert told in line


def test_an_expert_without_a_projection_is_refused(root, where, refused, tmp_path):
    state = torch.load(root / PUBLISHED.expert_of("mnist"))
    del state["model.visual.proj"]
    torch.save(state, tmp_path / "bare.pt")
    experts = {task: PUBLISHED.expert_of(task) for task in TASKS} | {"mnist": str(tmp_path / "bare.pt")}
    other = change(root, where, {"experts": experts}, tmp_path)
    line = refused("run", "--methods", "average", *other, "--out", tmp_path / "run")
    assert "expert 'mnist'" in line and "holds no projection of images" in line and "projection: base" in line
