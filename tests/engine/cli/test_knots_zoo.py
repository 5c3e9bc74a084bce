"""A miniature of the KnOTS family: LoRA adapters in pickles, one repository each, held to what peft makes of them."""

import shutil

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import CLIPVisionModel

from mergebench.catalogue.yaml_files import read_suite, read_zoo
from mergebench.cli import main
from mergebench.measuring.results import ResultStore
from mergebench.zoo.zoo import Zoo

pytestmark = pytest.mark.filterwarnings("ignore")
PUBLISHED = read_zoo("knots-vit-b-32")
TASKS = ("eurosat", "mnist", "svhn")


@pytest.fixture(scope="module")
def root(make_hub, tmp_path_factory):
    """The hub's folder, with the zoo and a suite in it."""
    folder = tmp_path_factory.mktemp("hub")
    make_hub(folder, TASKS, 40, "knots-vit-b-32")
    (folder / "three.yaml").write_text(yaml.safe_dump({"title": "three", "zoo": "mini-clip.yaml", "merge": [*TASKS]}))
    return folder


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The same hub, whose experts are whole models that peft's own merge made."""
    folder = shutil.copytree(root, tmp_path_factory.mktemp("whole") / "hub")
    base = folder / PUBLISHED.base.partition("@")[0]
    for task in TASKS:
        place = folder / PUBLISHED.expert_of(task)
        vision = CLIPVisionModel.from_pretrained(base)
        inner = getattr(vision, "vision_model", vision)  # some versions of transformers have it in another module
        merged = PeftModel.from_pretrained(inner, place).merge_and_unload()
        if inner is not vision:
            vision.vision_model = merged
        shutil.rmtree(place)
        (vision if inner is not vision else merged).save_pretrained(place)
        assert (place / "model.safetensors").is_file()
    return folder


def where(folder):
    """The options that name a hub's folder."""
    return ["--suite", str(folder / "three.yaml"), "--zoo", str(folder / "mini-clip.yaml"), "--zoo-root", str(folder)]


def run(folder, out, *methods):
    few = ["--set", "regmean.samples=8"]
    assert main(["run", "--methods", *methods, *where(folder), *few, "--out", str(out)]) == 0
    found = ResultStore(out).all()
    return {r.method: {task: (s.correct, s.total) for task, s in r.tasks.items()} for r in found}


def test_the_suite_s_zoo_has_its_tasks_and_what_is_published():
    suite = read_suite("clip-8-lora")
    assert suite.zoo == "knots-vit-b-32" and suite.merge == PUBLISHED.tasks == read_suite("clip-8").merge
    for name, model in (("knots-vit-b-32", "ViT-B-32"), ("knots-vit-l-14", "ViT-L-14")):
        zoo, other = read_zoo(name), read_zoo(name.replace("knots", "clip"))
        assert (zoo.base, zoo.encoder, zoo.backbone) == (other.base, other.encoder, other.backbone)
        places = [zoo.expert_of(task).partition("@")[0] for task in zoo.tasks]
        assert places == [f"hoffman-lab/KnOTS-{model}_lora_R16_{task.replace('-', '_')}" for task in suite.merge]


def test_experts_are_peft_s_own_merges(root, whole):
    ours, theirs = (Zoo(str(folder / "mini-clip.yaml"), folder) for folder in (root, whole))
    for task in TASKS:
        one, other = ours.expert(task), theirs.expert(task)
        changed = {name for name in ours.base if not torch.equal(one[name], ours.base[name])}
        assert changed == {f"blocks.{i}.attn.{n}.weight" for i in (0, 1) for n in ("qkv", "proj")}
        for name in ours.base:
            torch.testing.assert_close(one[name], other[name])
        up, down = one.low_rank("blocks.1.attn.qkv.weight")
        assert up.shape[1] == len(down) == 48


def test_counts_are_those_of_whole_experts_and_methods_for_low_rank_run(root, whole, tmp_path):
    methods = ("references", "average", "task_arithmetic", "regmean")
    ours = run(root, tmp_path / "ours", *methods, "knots", "core_space")
    theirs = run(whole, tmp_path / "theirs", *methods)
    assert {method: ours[method] for method in theirs} == theirs
    assert ours["average"] != ours["pretrained"] != ours["finetuned"] and {"knots", "core_space"} <= ours.keys()
    assert all(set(counts) == set(TASKS) for counts in ours.values())


def test_a_repository_without_its_weights_is_told_in_one_line(root, refused, tmp_path):
    folder = shutil.copytree(root, tmp_path / "hub")
    (folder / PUBLISHED.expert_of("svhn") / "adapter_model.bin").unlink()
    line = refused("run", "--methods", "average", *where(folder), "--out", tmp_path / "run")
    assert "holds adapter_config.json and no adapter_model.safetensors" in line
