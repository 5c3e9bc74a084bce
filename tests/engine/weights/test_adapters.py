"""LoRA adapters that peft writes are read as what peft's own merge makes of them, or refused by name."""

import json
import re
from fractions import Fraction

import peft
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel, ViTConfig, ViTModel

from mergebench.errors import CheckpointError
from mergebench.weights.adapted import as_expert
from mergebench.weights.files import open_weights
from mergebench.weights.translation import as_timm

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
TEXT = SIZES | {"vocab_size": 50, "max_position_embeddings": 8, "eos_token_id": 49}
LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
BLOCKS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def clip_vision():
    return CLIPVisionModel(CLIPVisionConfig(**SIZES))


def whole_clip():
    return CLIPModel(CLIPConfig(text_config=TEXT, vision_config=SIZES, projection_dim=16))


def vit():
    return ViTModel(ViTConfig(**SIZES), add_pooling_layer=False)


def open_clip_tower():
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=16, image_size=32)
    return CLIP(16, vision, CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=3), quick_gelu=True)


def small_timm():
    options = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=0, **options)


def random_adapter(model, folder, **options):
    """Writes an adapter of random factors by peft; gives the base, and what peft's own merge makes of it."""
    torch.manual_seed(0)
    model = model()
    for parameter in model.parameters():  # in double precision, so that what is compared is not rounding
        torch.nn.init.normal_(parameter.data.double(), std=0.3)
    base = as_timm({n: t.clone() for n, t in model.double().state_dict().items()}, "the base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{"r": 3, "lora_alpha": 5} | options))
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
        assert parameter.requires_grad or "lora_" not in name
    adapted.save_pretrained(folder)
    merged = adapted.merge_and_unload().state_dict()
    merged = {n.replace(".modules_to_save.default.", "."): t for n, t in merged.items() if ".original_module." not in n}
    return base, as_timm(merged, "peft's")


def read(folder, base):
    return as_expert(open_weights(folder), "expert 'e'", base)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (clip_vision, {"target_modules": LAYERS}),
        (clip_vision, {"target_modules": ["q_proj", "v_proj"], "use_rslora": True}),
        (clip_vision, {"target_modules": LAYERS, "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.fc1": 7},
                       "alpha_pattern": {"k_proj": 11, r"^encoder\.layers\.0\.mlp\.fc2": 2, "layers.0.mlp.fc2": 9}}),
        (clip_vision, {"target_modules": ["k_proj", "fc1"], "bias": "lora_only"}),
        (clip_vision, {"target_modules": ["v_proj", "fc2"], "bias": "all"}),
        (clip_vision, {"target_modules": ["q_proj"], "lora_bias": True}),
        (clip_vision, {"target_modules": ["fc1"], "modules_to_save": ["post_layernorm", "out_proj"]}),
        (clip_vision, {"target_modules": ["fc1"], "modules_to_save": ["post_layernorm"], "bias": "all"}),
        (clip_vision, {"target_modules": ["fc1", "patch_embedding"]}),
        (clip_vision, {"target_modules": ["fc1"], "fan_in_fan_out": True}),
        (whole_clip, {"target_modules": ["q_proj", "fc2"]}),
        (whole_clip, {"target_modules": ["q_proj"], "modules_to_save": ["visual_projection"]}),
        (open_clip_tower, {"target_modules": ["c_proj"], "rank_pattern": {"resblocks.0.mlp.c_proj": 2}}),
        (vit, {"target_modules": "all-linear"}),
        (small_timm, {"target_modules": ["qkv", "proj", "fc1", "fc2"]}),
        (small_timm, {"target_modules": r"blocks\.1\.attn\.qkv", "bias": "all"}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_what_peft_s_own_merge_makes_of_it(tmp_path, model, options):
    base, merged = random_adapter(model, tmp_path, **options)
    found = read(tmp_path, base)
    assert list(found) == list(base)
    changed = 0
    for name in base:
        torch.testing.assert_close(found[name], merged[name].double(), rtol=1e-12, atol=1e-12, msg=name)
        assert found.shape(name) == tuple(found[name].shape)
        changed += not torch.equal(found[name], base[name])
    assert changed


def test_scale_factors_are_alpha_over_the_rank_or_over_its_root(tmp_path):
    for rank_stabilised, scale in ((False, 5 / 3), (True, 5 / 3**0.5)):
        base, _ = random_adapter(clip_vision, tmp_path, target_modules=["fc1"], use_rslora=rank_stabilised)
        stored = load_file(tmp_path / "adapter_model.safetensors")
        down, up = (stored[f"base_model.model.encoder.layers.1.mlp.fc1.lora_{f}.weight"].double() for f in "AB")
        expert, name = read(tmp_path, base), "blocks.1.mlp.fc1.weight"
        torch.testing.assert_close(expert[name] - base[name], scale * up @ down, rtol=1e-10, atol=1e-12)
        for found, expected in zip(expert.low_rank(name), (scale * up, down), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("model", [clip_vision, small_timm])
def test_factors_are_told_where_there_are_some(tmp_path, model):
    targets = ["q_proj", "v_proj", "fc1"] if model is clip_vision else ["qkv", "fc1"]
    base, _ = random_adapter(model, tmp_path, target_modules=targets)
    expert = read(tmp_path, base)
    for name in base:
        found = expert.low_rank(name)
        assert (found is not None) == name.endswith(("attn.qkv.weight", "mlp.fc1.weight")), name
        if found is not None:
            up, down = found
            ranks = 2 * 3 if model is clip_vision and "qkv" in name else 3
            assert up.shape == (len(base[name]), ranks) and down.shape == (ranks, base[name].shape[1])
            torch.testing.assert_close(up @ down, expert[name] - base[name])


def test_whole_tensors_have_no_factors(tmp_path):
    base, _ = random_adapter(clip_vision, tmp_path, target_modules=["q_proj"], modules_to_save=["k_proj"])
    assert read(tmp_path, base).low_rank("blocks.0.attn.qkv.weight") is None


def test_what_is_not_changed_is_the_base_s_and_the_rest_at_least_float32(tmp_path):
    base, _ = random_adapter(clip_vision, tmp_path, target_modules=["q_proj"])
    base = {name: base[name].half() for name in base}
    expert = read(tmp_path, base)
    assert expert["norm.weight"].dtype == torch.float16 and torch.equal(expert["norm.weight"], base["norm.weight"])
    assert expert["blocks.0.attn.qkv.weight"].dtype in (torch.float32, torch.float64)


def test_what_is_read_is_told_and_what_is_left_aside(tmp_path, caplog):
    base, _ = random_adapter(whole_clip, tmp_path, target_modules=["q_proj"])
    read(tmp_path, base)
    told = caplog.text
    assert "expert 'e': a LoRA adapter of rank 3" in told and "added to the base" in told
    assert "'text_model' (2 tensors) is left aside" in told


def change(folder, **fields):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"use_dora": True}, r"use_dora \(DoRA's magnitudes\) makes more of it than a sum.*merge_and_unload"),
        ({"peft_type": "IA3"}, "adapters of type 'IA3' are not read; .*merge_and_unload"),
        ({"peft_type": "LOHA"}, "adapters of type 'LOHA' are not read"),
        ({"peft_type": None}, "adapters of type None are not read"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4' changes the base itself.*merge_and_unload"),
        ({"layer_replication": [[0, 1], [0, 2]]}, "layer_replication makes more of it"),
        ({"r": 4}, r"'encoder\.layers\.0\.mlp\.fc1' is of rank 3, but 4 by adapter_config\.json"),
        ({"r": "3"}, "r is '3', which is no rank"),
        ({"lora_alpha": None}, "lora_alpha is None, which is no number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan, which is no number"),
        ({"rank_pattern": ["fc1"]}, "rank_pattern is no table"),
        ({"rank_pattern": {"(": 3}}, r"rank_pattern '\(' is no pattern"),
        ({"alpha_pattern": {"(a+)+b": 3}}, "may take for ever to match"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(tmp_path, fields, told):
    base, _ = random_adapter(clip_vision, tmp_path, target_modules=["fc1"])
    change(tmp_path, **fields)
    with pytest.raises(CheckpointError, match=told):
        read(tmp_path, base)


def test_other_kinds_of_adapters_are_refused_as_peft_writes_them(tmp_path):
    for kind in (
        peft.IA3Config(target_modules=["fc1"], feedforward_modules=["fc1"]),
        peft.LoHaConfig(target_modules=["fc1"]),
        peft.LoraConfig(target_modules=["fc1"], use_dora=True),
        peft.LoraConfig(target_modules=["position_embedding"]),
    ):
        torch.manual_seed(0)
        model = clip_vision()
        base = as_timm({n: t.clone() for n, t in model.state_dict().items()}, "the base")
        peft.get_peft_model(model, kind).save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match="merge_and_unload"):
            read(tmp_path, base)


@pytest.mark.filterwarnings("ignore")
def test_torch_s_own_attention_is_refused_by_name(tmp_path):
    base, _ = random_adapter(open_clip_tower, tmp_path, target_modules=r"visual\..*(\.attn|c_fc)")
    with pytest.raises(CheckpointError, match="out_proj.*it adapts torch's own attention.*merge_and_unload"):
        read(tmp_path, base)


def rewrite(folder, edit):
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file)


FC1 = "base_model.model.encoder.layers.1.mlp.fc1.lora_{}.weight"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda t: t.pop(FC1.format("A")), r"'encoder\.layers\.1\.mlp\.fc1' lacks its lora_A; delete it"),
        (lambda t: t.clear(), "has no lora_A and lora_B"),
        (lambda t: t.update({FC1.format("B"): torch.ones(48, 2)}), r"lora_A \(3, 32\) and lora_B \(48, 2\) .* do not"),
        (
            lambda t: t.update({FC1.format("B"): torch.ones(40, 3)}),
            r"\(40, 32\), which is \(48, 32\) in the base; is it",
        ),
        (lambda t: t.update({FC1.format("A"): torch.ones(3, 30)}), r"\(48, 30\), which is \(48, 32\) in the base"),
        (lambda t: t.update({FC1.format("A"): torch.full((3, 32), torch.nan)}), "holds 96 values that are NaN"),
        (lambda t: t.update({FC1.format("A"): torch.ones(3, 32, dtype=torch.int8)}), "int8, which cannot be merged"),
        (
            lambda t: t.update({n.replace("layers.1", "layers.7"): t[n].clone() for n in list(t)}),
            r"changes 'encoder\.layers\.7\.mlp\.fc1\.weight', which the base lacks; is it an adapter of another",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, edit, told):
    base, _ = random_adapter(clip_vision, tmp_path, target_modules=["fc1"])
    rewrite(tmp_path, edit)
    with pytest.raises(CheckpointError, match=told):
        read(tmp_path, base)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    base = as_timm(small_timm().state_dict(), "the base")
    linear = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    peft.get_peft_model(linear, peft.LoraConfig(target_modules=["0", "1"])).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"changes '0\.weight', '1\.weight', of which the base has none"):
        read(tmp_path, base)
    text = whole_clip().text_model
    peft.get_peft_model(text, peft.LoraConfig(target_modules=["q_proj"], r=40)).save_pretrained(tmp_path / "deep")
    rewrite(tmp_path / "deep", lambda t: _rename(t, "base_model.model.", "base_model.model.text_model."))
    with pytest.raises(CheckpointError, match="text tower alone"):
        read(tmp_path / "deep", base)


def _rename(tensors, old, new):
    for name in list(tensors):
        tensors[name.replace(old, new)] = tensors.pop(name)


def test_missing_and_damaged_files_are_named(tmp_path):
    base, _ = random_adapter(clip_vision, tmp_path, target_modules=["fc1"])
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    written = config.read_text()
    for broken, told in (
        ("{", "cannot be read"),
        ("[]", "does not say its peft_type"),
        ("[" * 10**5, "cannot be read"),
    ):
        config.write_text(broken)
        with pytest.raises(CheckpointError, match=rf"adapter_config\.json {told}"):
            read(tmp_path, base)
    config.unlink()
    with pytest.raises(CheckpointError, match="holds an adapter without its adapter_config.json"):
        read(weights, base)
    config.write_text(written)
    content = weights.read_bytes()
    weights.write_bytes(content[:-10])
    with pytest.raises(CheckpointError, match="is truncated or no safetensors file"):
        read(tmp_path, base)
    weights.unlink()
    with pytest.raises(CheckpointError, match="holds adapter_config.json and no adapter_model.safetensors"):
        read(config, base)
    pickled = tmp_path / "adapter_model.bin"
    torch.save({"base_model.model.a.lora_A.weight": Fraction(1, 2)}, pickled)
    for place in (tmp_path, pickled):
        with pytest.raises(CheckpointError, match=r"adapter_model\.bin needs fractions\.Fraction to be read"):
            read(place, base)
    pickled.write_bytes(pickled.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin is truncated or no torch pickle"):
        read(tmp_path, base)


def test_a_pickle_holds_what_safetensors_do(tmp_path):
    """As earlier releases of peft wrote adapters, and as the published LoRA experts of CLIPs are."""
    base, merged = random_adapter(clip_vision, tmp_path, target_modules=LAYERS)
    written = read(tmp_path, base)
    expected = {name: written[name] for name in written}
    torch.save(load_file(tmp_path / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_model.safetensors").unlink()
    for place in (tmp_path, tmp_path / "adapter_model.bin", tmp_path / "adapter_config.json"):
        found = read(place, base)
        assert all(torch.equal(found[name], expected[name]) for name in base)
    name = "blocks.1.attn.qkv.weight"
    assert all(torch.equal(*pair) for pair in zip(found.low_rank(name), written.low_rank(name), strict=True))
    assert not torch.equal(found[name], base[name])


def test_an_adapter_is_no_base(tmp_path):
    random_adapter(clip_vision, tmp_path, target_modules=["fc1"])
    with pytest.raises(CheckpointError, match=re.escape("the base has 'base_model.model.") + ".*merge_and_unload"):
        as_timm(open_weights(tmp_path), "the base")
