"""`merge --output FOLDER`: what transformers, open_clip and timm load from it, in the base's number formats."""

import json

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from mergebench.weights.translation import as_timm

TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 128}
VISION = TOWER | {"image_size": 32, "patch_size": 8}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}


def near(path, into, scale=0.02):
    """An expert's file near a base's."""
    generator = torch.Generator().manual_seed(len(str(into)))
    state = load_file(path)
    for name, tensor in state.items():
        if "text" not in name and tensor.ndim:
            state[name] = (tensor.double() + scale * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
    save_file(state, into)
    return into


@pytest.fixture
def merge(command, tmp_path):
    """Averages two experts near a base; gives what the command said."""

    def run(base, *arguments, output="out"):
        file = next(base.glob("*.safetensors")) if base.is_dir() else base
        experts = [near(file, tmp_path / f"{n}.safetensors") for n in ("one", "three")]
        done = command("merge", "--method", "average", "--base", base, "--experts", *experts,
                       "--output", tmp_path / output, *arguments)  # fmt: skip
        assert done.status == 0, done
        return done

    return run


@pytest.fixture
def vision(tmp_path):
    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(**VISION, hidden_act="gelu")).save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "preprocessor_config.json").write_text(json.dumps(HALF))
    return tmp_path / "base"


@pytest.fixture
def whole(tmp_path):
    torch.manual_seed(0)
    text = TOWER | {"vocab_size": 99, "eos_token_id": 98, "hidden_act": "gelu", "max_position_embeddings": 9}
    config = CLIPConfig(text_config=text, vision_config=VISION | {"hidden_act": "gelu"}, projection_dim=16)
    CLIPModel(config).save_pretrained(tmp_path / "whole")
    (tmp_path / "whole" / "vocab.json").write_text("{}")
    return tmp_path / "whole"


@pytest.mark.parametrize("output", ["out", "out/model.safetensors"])
def test_transformers_loads_a_vision_model_whole(merge, vision, tmp_path, output):
    merge(vision, "--format", "hf", output=output)
    model, told = CLIPVisionModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert model.config.hidden_act == "gelu" and model.config.num_attention_heads == 1
    processor = CLIPImageProcessor.from_pretrained(tmp_path / "out")
    assert list(processor.image_mean) == HALF["image_mean"] and processor.crop_size["height"] == 32
    encoder = timm.create_model("vit_base_patch16_clip_224", num_classes=0, img_size=32, patch_size=8, embed_dim=64,
                                depth=2, num_heads=1, mlp_ratio=2.0).eval()  # fmt: skip
    encoder.load_state_dict(as_timm(load_file(tmp_path / "out" / "model.safetensors"), "it"))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model.eval()(pixels).pooler_output, encoder(pixels), atol=1e-5)


@pytest.mark.parametrize("described", [True, False])
def test_a_clip_that_came_in_whole_goes_out_whole_and_it_is_said(merge, whole, tmp_path, described):
    arguments = []
    if not described:
        (whole / "config.json").unlink()
        (whole / "config.json").write_text(
            json.dumps({"model_type": "clip_vision_model", **VISION, "hidden_act": "gelu"})
        )
    done = merge(whole, "--format", "hf", *arguments)
    assert "text tower and projections are the base's" in done.err
    model, told = CLIPModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and (tmp_path / "out" / "vocab.json").is_file()
    base, own = load_file(whole / "model.safetensors"), model.state_dict()
    text = [name for name in base if name.startswith(("text", "visual_projection", "logit_scale"))]
    assert len(text) > 20 and all(torch.equal(own[name], base[name]) for name in text)
    assert model.config.text_config.hidden_act == "gelu" and model.config.projection_dim == 16
    ids = torch.tensor([[3, 5, 98]])
    with torch.no_grad():
        features = CLIPModel.from_pretrained(whole).eval().text_model(ids).last_hidden_state if described else None
        assert features is None or torch.equal(features, model.eval().text_model(ids).last_hidden_state)


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip_loads_its_folder(merge, tmp_path, quick):
    torch.manual_seed(0)
    text = open_clip.CLIPTextCfg(context_length=9, vocab_size=99, width=64, heads=1, layers=2)
    seen = open_clip.CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=8, image_size=32, mlp_ratio=2.0)
    base = open_clip.CLIP(16, seen, text, quick_gelu=quick).state_dict()
    save_file(base, tmp_path / "clip.safetensors")
    name = f"vit_base_patch16_clip_{'quickgelu_' * quick}224"
    options = "img_size=32", "patch_size=8", "embed_dim=64", "depth=2", "num_heads=1", "mlp_ratio=2.0"
    done = merge(
        tmp_path / "clip.safetensors", "--format", "open_clip", "--encoder", name, "--encoder-options", *options
    )
    assert "text tower and projections are the base's" in done.err
    model = open_clip.create_model(f"local-dir:{tmp_path / 'out'}")
    merged, own = load_file(tmp_path / "out" / "open_clip_model.safetensors"), model.state_dict()
    assert set(merged) == set(own) and all(torch.equal(own[name], tensor) for name, tensor in merged.items())
    assert torch.equal(own["text_projection"], base["text_projection"])
    assert not torch.equal(own["visual.conv1.weight"], base["visual.conv1.weight"])
    assert ("Quick" in type(model.visual.transformer.resblocks[0].mlp.gelu).__name__) == quick


def test_timm_loads_its_folder(merge, vision, tmp_path):
    merge(vision)
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=0)
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(merged[name], tensor) for name, tensor in model.state_dict().items())
    assert list(model.pretrained_cfg["mean"]) == HALF["image_mean"]


def test_a_merged_folder_is_a_base_and_an_expert_again(merge, command, vision, tmp_path):
    merge(vision, "--format", "hf")
    again = command("merge", "--method", "average", "--base", tmp_path / "out", "--experts", tmp_path / "out",
                    f"x={vision}", "--output", tmp_path / "again.safetensors")  # fmt: skip
    assert again.status == 0 and "bit for bit the base" in again.err


def test_what_is_there_and_says_something_else_is_left_alone(refused, vision, tmp_path):
    near(vision / "model.safetensors", tmp_path / "one.safetensors")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text('{"model_type": "bert"}')
    line = refused("merge", "--method", "average", "--base", vision, "--experts", tmp_path / "one.safetensors",
                   "--format", "hf", "--output", tmp_path / "out")  # fmt: skip
    assert "config.json is there already and says something else" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["config.json"]


def test_a_folder_needs_to_know_the_activation(refused, vision, tmp_path):
    file = near(vision / "model.safetensors", tmp_path / "one.safetensors")
    line = refused("merge", "--method", "average", "--base", file, "--experts", f"x={file}",
                   "--format", "hf", "--output", tmp_path / "out")  # fmt: skip
    assert "give --encoder" in line and not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize(
    "cast",
    [
        torch.Tensor.half,
        torch.Tensor.bfloat16,
        torch.Tensor.double,
        lambda t: t.half() if t.ndim == 4 or t.shape[0] == 128 else t,
    ],
)
def test_the_result_has_the_base_s_number_formats_computed_in_finer_ones(merge, vision, tmp_path, cast):
    own = load_file(vision / "model.safetensors")
    save_file({name: cast(tensor) for name, tensor in own.items()}, vision / "model.safetensors")
    merge(vision, "--format", "hf")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    experts = [load_file(tmp_path / f"{n}.safetensors") for n in ("one", "three")]
    merged, experts, own = as_timm(merged, "it"), [as_timm(e, "it") for e in experts], as_timm(own, "it")
    for name in own:
        dtype = cast(own[name] if "cls_token" not in name else own[name][0, 0]).dtype
        exact = np.mean([e[name].double().numpy() for e in experts], 0)
        assert merged[name].dtype == dtype
        error = np.abs(merged[name].double().numpy() - exact)
        assert (error <= torch.finfo(dtype).eps * np.abs(exact) * 0.51 + 1e-7).all()


def test_a_value_that_is_too_large_for_the_base_s_format_is_told(refused, vision, tmp_path):
    own = {name: tensor.half() for name, tensor in load_file(vision / "model.safetensors").items()}
    save_file(own, vision / "model.safetensors")
    save_file({name: tensor.float() + 1 for name, tensor in own.items()}, tmp_path / "x.safetensors")
    line = refused("merge", "--method", "task_arithmetic", "--set", "scaling=1e6", "--base", vision, "--experts",
                   tmp_path / "x.safetensors", "--output", tmp_path / "m.safetensors")  # fmt: skip
    assert "too large for float16, the base's number format" in line
