"""The CLIP zoos and suites: the same 20 tasks in the same order, experts of the base's own kind."""

from pathlib import Path

import pytest
import timm
import torch
import yaml

import mergebench.configs
from mergebench.configuration import SuiteConfig
from mergebench.tasks.clip import ORDER

FOLDER = Path(mergebench.configs.__file__).parent

# Zoo -> what the encoder is, and the repositories' name for it.
ZOOS = {
    "clip-vit-b-32": ((768, 12, 32), "clip-vit-base-patch32"),
    "clip-vit-b-16": ((768, 12, 16), "clip-vit-base-patch16"),
    "clip-vit-l-14": ((1024, 24, 14), "clip-vit-large-patch14"),
}
SUITES = {"clip-8": 8, "clip-14": 14, "clip-20": 20, "clip-8-b-16": 8, "clip-8-l-14": 8}


def content(kind: str, name: str) -> dict:
    """What a file holds."""
    return yaml.safe_load((FOLDER / kind / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", ZOOS)
def test_a_zoo_has_the_twenty_tasks_in_order_and_experts_of_its_base(name):
    zoo, repository = content("zoos", name), ZOOS[name][1]
    assert zoo["tasks"] == list(ORDER)
    assert zoo["base"] == f"openai/{repository}"
    assert zoo["experts"].format(task="dtd") == f"tanganke/{repository}_dtd"


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
def test_settings_differ_from_the_published_defaults_only_where_the_backbone_does(name):
    suite = SuiteConfig.model_validate(content("suites", name))
    assert suite.zoo == (f"clip-vit-{name.removeprefix('clip-8-')}" if suite.hyperparameters else "clip-vit-b-32")
    assert set(suite.hyperparameters) <= {"iso_c", "iso_cts"}
