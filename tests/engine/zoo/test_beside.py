"""What config.json and preprocessor_config.json beside a checkpoint say is read, and held to what else is said."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.running.own_merge import OwnModels
from mergebench.weights.hub import Hub
from mergebench.weights.states import SafetensorsState
from mergebench.weights.translation import from_timm
from mergebench.zoo.beside import scales_beside, told_encoder
from mergebench.zoo.zoo_files import find_checkpoint

NAME = "vit_base_patch16_clip_quickgelu_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 1, "mlp_ratio": 2.0}
CONFIG = {
    "model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
    "num_attention_heads": 1, "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu",
}  # fmt: skip
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.fixture
def folder(tmp_path):
    """Writes a checkpoint's folder; other names than the base's are near it."""
    base = timm.create_model(NAME, num_classes=0, **SMALL).state_dict()

    def write(name, config=CONFIG, preprocessor=None, activation=True):
        place = tmp_path / name
        place.mkdir()
        generator = torch.Generator().manual_seed(sum(map(ord, name)))
        state = {n: t + 0.02 * torch.randn(t.shape, generator=generator) for n, t in base.items()}
        save_file({n: t.contiguous() for n, t in from_timm(state, "hf").items()}, place / "model.safetensors")
        for file, content in (("config.json", config), ("preprocessor_config.json", preprocessor)):
            if content is not None:
                (place / file).write_text(json.dumps(content))
        return str(place)

    return write


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"hidden_act": "gelu"}, "'vit_base_patch16_clip_224'"),
        ({"num_attention_heads": 2}, "'num_heads': 2"),
        ({"image_size": 48}, "for images of 48 pixels, but"),
        ({"model_type": "resnet"}, "of a 'resnet' model"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
    ],
)
def test_an_expert_whose_config_is_of_another_encoder_is_refused(folder, changed, told):
    models = OwnModels(folder("base"), {"e": folder("e", CONFIG | changed), "b": folder("b", None)})
    with pytest.raises(MergebenchError, match="^.*/e.* ") as caught:
        models.encoder  # noqa: B018
    assert told in str(caught.value)


@pytest.mark.parametrize("config", [CONFIG, None, {"lr": 0.1, "batch_size": 8}, CONFIG | {"architectures": ["X"]}])
def test_one_that_agrees_or_is_of_no_model_passes(folder, config):
    models = OwnModels(folder("base"), {"e": folder("e", config)})
    assert models.encoder.name == NAME and models.encoder.options["num_heads"] == 1


def test_scales_come_from_the_preprocessor_and_contradictions_are_refused(folder):
    base = folder("base", preprocessor=HALF)
    assert OwnModels(base, {"e": folder("silent")}).encoder.mean == (0.5,) * 3
    assert OwnModels(base, {"e": folder("same", None, HALF)}).encoder.std == (0.5,) * 3
    for name, config in (("other", CONFIG), ("bare", None)):
        with pytest.raises(CheckpointError, match=rf"{name} says that it is of images normalised by mean .*0\.4"):
            OwnModels(base, {"e": folder(name, config, HALF | {"image_mean": [0.4, 0.5, 0.5]})}).encoder  # noqa: B018


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"do_normalize": False}, ((0, 0, 0), (1, 1, 1))),
        ({"rescale_factor": 1 / 127.5}, "only 1/255 can be done"),
        ({"do_rescale": False}, "only 1/255 can be done"),
        ({"image_mean": [0.5], "image_std": [0.5]}, "are not three numbers each"),
        ({"image_mean": 0.5, "image_std": None}, "are not three numbers each"),
        ({"size": 224}, None),
        ([], None),
    ],
)
def test_what_a_preprocessor_says(tmp_path, told, expected):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    if isinstance(expected, str):
        with pytest.raises(CheckpointError, match=expected):
            scales_beside(tmp_path / "model.safetensors")
    else:
        assert scales_beside(tmp_path / "model.safetensors") == expected


def test_a_broken_file_beside_is_named(folder, tmp_path):
    place = folder("e")
    (tmp_path / "e" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read .*; correct it, or take it away"):
        told_encoder(SafetensorsState(f"{place}/model.safetensors"))


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_a_folder_with_an_adapter_and_whole_weights_can_be_read_in_two_ways(folder, tmp_path, file):
    place = folder("both")
    (tmp_path / "both" / file).write_text("{}")
    with pytest.raises(CheckpointError, match=rf"and whole weights.*name one .*model\.safetensors or .*{file}$"):
        find_checkpoint(place, tmp_path, Hub())
    for named in ("model.safetensors", file):
        assert find_checkpoint(f"{place}/{named}", tmp_path, Hub()).name == named
    (tmp_path / "both" / "model.safetensors").unlink()
    assert find_checkpoint(place, tmp_path, Hub()).name == file


def test_an_adapter_in_the_hub_s_place_is_found_with_its_weights(folder, tmp_path):
    folder("owner")
    (tmp_path / "owner").rename(tmp_path / "name")
    (tmp_path / "owner").mkdir()
    (tmp_path / "name").rename(tmp_path / "owner" / "name")
    place = tmp_path / "owner" / "name"
    assert find_checkpoint("owner/name", tmp_path / "none", Hub(tmp_path)).is_file()
    (place / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="^owner/name holds a LoRA adapter and whole weights"):
        find_checkpoint("owner/name", tmp_path / "none", Hub(tmp_path))
    (place / "model.safetensors").unlink()
    assert find_checkpoint("owner/name", tmp_path / "none", Hub(tmp_path)) == place / "adapter_config.json"
