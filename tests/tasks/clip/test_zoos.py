"""The CLIP zoos and suites: the same 20 tasks in the same order, experts of the base's own kind."""

import re
from pathlib import Path

import pytest
import timm
import torch
import yaml

import mergebench.configs
from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_suite, read_zoo
from mergebench.configuration import SuiteConfig
from mergebench.leaderboard.reported_numbers import read_reported
from mergebench.running.plan import merged_settings
from mergebench.suites.bench import Bench
from mergebench.tasks.clip import ORDER

FOLDER = Path(mergebench.configs.__file__).parent

# Zoo -> what the encoder is, and the repositories' name for it.
ZOOS = {
    "clip-vit-b-32": ((768, 12, 32), "clip-vit-base-patch32"),
    "clip-vit-b-16": ((768, 12, 16), "clip-vit-base-patch16"),
    "clip-vit-l-14": ((1024, 24, 14), "clip-vit-large-patch14"),
}
TALL = {name.replace("clip", "tall"): zoo[0] for name, zoo in ZOOS.items()}
SUITES = {"clip-8": 8, "clip-14": 14, "clip-20": 20}


def content(kind: str, name: str) -> dict:
    """What a file holds."""
    return yaml.safe_load((FOLDER / kind / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", ZOOS)
def test_a_zoo_has_the_twenty_tasks_in_order_and_experts_of_its_base(name):
    zoo, repository = content("zoos", name), ZOOS[name][1]
    assert zoo["tasks"] == list(ORDER)
    assert re.fullmatch(f"openai/{repository}@[0-9a-f]{{40}}", zoo["base"])
    assert zoo["experts"].format(task="dtd") == f"tanganke/{repository}_dtd"


@pytest.mark.parametrize("name", TALL)
def test_a_tall_zoo_is_the_same_but_for_its_experts_and_the_twentieth_task(name):
    zoo, other = read_zoo(name), read_zoo(name.replace("tall", "clip"))
    assert zoo.tasks == ["emnist_digits" if task == "emnist_letters" else task for task in ORDER]
    assert (zoo.base, zoo.encoder, zoo.backbone) == (other.base, other.encoder, other.backbone)
    assert zoo.hyperparameters == other.hyperparameters and zoo.projection == "merged"
    places = [zoo.expert_of(task) for task in zoo.tasks]
    model = name.removeprefix("tall-").replace("vit", "ViT").replace("b-", "B-").replace("l-", "L-")
    pattern = f"nik-dim/tall_masks/single_task/{model}/\\w+Val/nonlinear_finetuned.pt"
    assert all(re.fullmatch(pattern, place) for place in places) and len(set(places)) == 20
    names = {re.sub("[^a-z0-9]", "", place.split("/")[4].removesuffix("Val").lower()) for place in places}
    ours = {re.sub("[^a-z0-9]", "", task) for task in zoo.tasks}
    renamed = {"stanfordcars": "cars", "oxfordflowers102": "flowers102", "emnistdigits": "emnist"}
    assert names == {renamed.get(task, task) for task in ours}


@pytest.mark.parametrize(("name", "length"), list(zip(TALL, (512, 512, 768), strict=True)))
def test_a_tall_zoo_s_projection_is_as_long_as_its_backbone_s_texts(name, length):
    assert read_zoo(name).options == {"projection": length}


@pytest.mark.parametrize("suite", SUITES)
def test_suites_serve_tall_zoos_and_find_what_is_published_of_them(suite):
    bench = Bench(suite, "tall-vit-b-32")
    tasks = bench.variants[0].merged
    assert list(tasks) == read_zoo("tall-vit-b-32").tasks[: SUITES[suite]]
    sets = {(r.backbone, r.checkpoints, r.tasks): r for r in read_reported()}
    stated = bench.zoo.checkpoints
    assert set(sets[stated["backbone"], stated["family"], SUITES[suite]].names) == set(tasks)


@pytest.mark.parametrize("name", ZOOS)
def test_a_zoos_encoder_is_the_one_of_its_name(name):
    with torch.device("meta"):
        encoder = timm.create_model(content("zoos", name)["encoder"], num_classes=0)
    assert (encoder.embed_dim, len(encoder.blocks), encoder.patch_embed.patch_size[0]) == ZOOS[name][0]
    assert not isinstance(encoder.norm_pre, torch.nn.Identity)
    assert type(encoder.blocks[0].mlp.act).__name__ == "QuickGELU"
    assert encoder.default_cfg["mean"] == (0.48145466, 0.4578275, 0.40821073)
    assert encoder.default_cfg["std"] == (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(("name", "count"), SUITES.items())
def test_a_suite_merges_the_first_tasks_by_name(name, count):
    assert SuiteConfig.model_validate(content("suites", name)).merge == list(ORDER[:count])


@pytest.mark.parametrize("name", SUITES)
def test_published_settings_are_the_defaults_and_the_backbone_s(name):
    cards = registry.select_methods(["iso_c", "iso_cts", "fisher"])
    assert not read_suite(name).hyperparameters
    settings = {zoo: merged_settings(Bench(name, zoo), cards, {}) for zoo in ZOOS}
    assert [settings[zoo]["iso_c"].get("scaling") for zoo in ZOOS] == [None, 1.4, 1.5]
    assert [settings[zoo]["iso_cts"].get("scaling") for zoo in ZOOS] == [None, 1.6, 1.9]


def test_a_suite_s_settings_are_for_its_own_zoo():
    cards = registry.select_methods(["fisher", "iso_c"])
    assert merged_settings(Bench("unseen"), cards, {})["fisher"] == {"samples": 64}
    assert merged_settings(Bench("unseen", "clip-vit-l-14"), cards, {}) == {"fisher": {}, "iso_c": {"scaling": 1.5}}
