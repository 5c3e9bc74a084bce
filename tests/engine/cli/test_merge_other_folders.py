"""`merge --format hf --output FOLDER` of what is no CLIP: transformers loads them, with the same features."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
SIZES |= {"image_size": 32, "patch_size": 8}


@pytest.fixture
def kinds():
    """Kind -> the configuration, the model, and what it gives for an image."""
    from transformers import Dinov2Config, Dinov2Model, SiglipVisionConfig, SiglipVisionModel, ViTConfig, ViTModel

    return {
        "vit": (ViTConfig, ViTModel, "last_hidden_state"),
        "dinov2": (Dinov2Config, Dinov2Model, "pooler_output"),
        "siglip": (SiglipVisionConfig, SiglipVisionModel, "pooler_output"),
    }


def base_of(kinds, kind, folder, **changed):
    """Writes a model's folder, and an expert near it; gives the model's class and its output's name."""
    config, model, output = kinds[kind]
    torch.manual_seed(0)
    made = model(config(**SIZES | changed))
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    made.save_pretrained(folder / "base")
    state = load_file(folder / "base" / "model.safetensors")
    save_file({n: t + 0.05 * torch.randn_like(t) for n, t in state.items()}, folder / "x.safetensors")
    return model, output


CASES = [
    ("vit", {}), ("vit", {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-3}), ("dinov2", {}),
    ("dinov2", {"use_swiglu_ffn": True, "mlp_ratio": 2}), ("siglip", {}), ("siglip", {"hidden_act": "gelu"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changed"), CASES)
def test_transformers_loads_what_was_merged(command, kinds, tmp_path, kind, changed):
    model, output = base_of(kinds, kind, tmp_path, **changed)
    files = ("--base", tmp_path / "base", "--experts", tmp_path / "x.safetensors")
    done = command("merge", "--method", "average", *files, "--format", "hf", "--output", tmp_path / "out")
    assert done.status == 0, done
    loaded, told = model.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    # One expert's average is the expert: transformers' own model of its file says what it gives.
    (tmp_path / "own").mkdir()
    save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "own" / "model.safetensors", {"format": "pt"})
    (tmp_path / "own" / "config.json").write_text((tmp_path / "base" / "config.json").read_text())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        mine, theirs = (m.eval()(pixels)[output] for m in (loaded, model.from_pretrained(tmp_path / "own")))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_what_no_configuration_of_theirs_says_is_refused(command, kinds, tmp_path):
    base_of(kinds, "vit", tmp_path)
    files = ("merge", "--method", "average", "--base", tmp_path / "base", "--experts", tmp_path / "x.safetensors")
    done = command(*files, "--output", tmp_path / "out")  # timm's has no epsilon of one's own
    assert done.status == 2 and "timm's config.json cannot say that norms have epsilon 1e-12; write" in done.err
    assert command(*files, "--output", tmp_path / "out.safetensors").status == 0
    (tmp_path / "base" / "config.json").unlink()
    options = ("img_size=32", "patch_size=8", "embed_dim=64", "depth=2", "num_heads=2", "mlp_ratio=2.0")
    named = ("--encoder", "vit_base_patch16_224", "--encoder-options", *options, "global_pool=avg", "fc_norm=false")
    done = command(*files, *named, "--format", "hf", "--output", tmp_path / "out")
    assert done.status == 2 and "no config.json of a Hugging Face ViT says what encoder" in done.err, done


def test_a_whole_siglip_is_read_and_its_encoder_alone_written(command, tmp_path):
    from transformers import SiglipConfig, SiglipModel

    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 99,
    }
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=text, vision_config=SIZES)).save_pretrained(tmp_path / "base")
    state = load_file(tmp_path / "base" / "model.safetensors")
    save_file({n: t + 0.05 * ("vision" in n) for n, t in state.items()}, tmp_path / "x.safetensors")
    files = ("--base", tmp_path / "base", "--experts", tmp_path / "x.safetensors")
    done = command("merge", "--method", "average", *files, "--format", "hf", "--output", tmp_path / "out")
    assert done.status == 0 and "the encoder alone is written, without the base's other parts" in done.err
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["model_type"], config["hidden_act"]) == ("siglip_vision_model", "gelu_pytorch_tanh")
