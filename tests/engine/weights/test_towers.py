"""Where the encoder is in a file, whatever stands before its names and lies beside it."""

import pytest
import torch
from timm import create_model

from mergebench.errors import CheckpointError
from mergebench.weights.formats import as_timm
from mergebench.weights.states import digest


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def towers(hf_vision, open_clip_whole, mini):
    """Dialect -> an encoder under its bare names."""
    visual = {n: t for n, t in open_clip_whole.visual.state_dict().items() if n != "proj"}
    return {
        "hf": hf_vision().state_dict(),
        "open_clip": visual,
        "timm": mini.encoder().state_dict(),
        "plain": mini.encoder(pre_norm=False).state_dict(),
    }


@pytest.mark.parametrize("dialect", ["hf", "open_clip", "timm", "plain"])
@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module._orig_mod.", "net.", "backbone.", "image_encoder.model.", "vision_tower.", "model.visual.",
     "a.b.c.d.", "visual.model.", "module.module."],
)  # fmt: skip
def test_whatever_stands_before_all_names_is_taken_off_and_told(towers, caplog, dialect, prefix):
    bare = as_timm(towers[dialect], "it")
    assert not caplog.records
    read = as_timm(prefixed(towers[dialect], prefix), "it")
    assert digest(read) == digest(bare) and read.others == ()
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"it: its encoder is what stands behind {prefix!r}"]


def test_a_whole_model_in_a_wrapper_has_its_text_tower_left_aside_as_ever(open_clip_whole, hf_whole, caplog):
    for whole in (open_clip_whole.state_dict(), hf_whole.state_dict()):
        bare, read = as_timm(whole, "it"), as_timm(prefixed(whole, "module._orig_mod."), "it")
        assert digest(read) == digest(bare) and len(read.others) == len(bare.others) > 0
        assert read.wrapper == "module._orig_mod." and "left aside" not in caplog.text


@pytest.mark.parametrize(
    ("dialect", "prefix", "beside", "told"),
    [
        ("hf", "vision_model.", ["classifier.weight", "classifier.bias"], "'classifier.' (2 tensors) beside it"),
        ("hf", "", ["classifier.weight"], "'classifier.' (1 tensor) beside it"),
        ("hf", "model.", ["train_acc.total", "criterion.weight"], "'train_acc.' (1 tensor), 'criterion.' (1 tensor)"),
        ("open_clip", "", ["classifier.weight"], "'classifier.' (1 tensor) beside it"),
        ("open_clip", "image_encoder.model.visual.", ["classification_head.weight"], "behind 'image_encoder.model."),
        ("open_clip", "module.", ["module.fc.weight", "n_averaged"], "'module.fc.' (1 tensor), 'n_averaged' beside"),
        ("plain", "", ["fc.weight"], "'fc.' (1 tensor) beside it, left aside"),
        ("plain", "", ["head.weight", "head.bias"], "'head.' (2 tensors) beside it, left aside"),
        ("timm", "", ["head_dist.weight"], "'head_dist.' (1 tensor) beside it, left aside"),
        ("timm", "", ["mask_token"], "'mask_token' beside it, left aside"),
        ("timm", "net.", ["val_auroc.tp", "loss_fn.alpha"], "'val_auroc.' (1 tensor), 'loss_fn.' (1 tensor)"),
        ("timm", "", ["optimizer.0.exp_avg"], "'optimizer.' (1 tensor) beside it, left aside"),
    ],
)
def test_what_lies_beside_the_encoder_is_left_aside_and_told(towers, caplog, dialect, prefix, beside, told):
    many = {name: torch.tensor(3) if name == "n_averaged" else torch.ones(3, 4) for name in beside}
    read = as_timm(prefixed(towers[dialect], prefix) | many, "it")
    assert digest(read) == digest(as_timm(towers[dialect], "it")) and set(read.others) == set(beside)
    (said,) = (record.getMessage() for record in caplog.records)
    assert told in said


@pytest.mark.parametrize("extra", ["prompt", "blocks.0.adapter.weight", "fc_norm.weight", "blocks.7.ls1.gamma"])
def test_what_may_be_a_part_of_the_encoder_is_not_left_aside(towers, extra):
    assert extra in as_timm(towers["timm"] | {extra: torch.ones(2)}, "it")


def test_an_encoder_of_one_s_own_keeps_its_own_parts(towers):
    state = towers["timm"] | {"gate.weight": torch.ones(2)}
    assert "gate.weight" not in as_timm(state, "it") and "gate.weight" in as_timm(state, "it", ["gate.weight"])
    adapted = towers["timm"] | {"blocks.0.lora_A.weight": torch.ones(2)}
    assert "blocks.0.lora_A.weight" in as_timm(adapted, "it", list(adapted))
    stem = {f"stem.{i}.weight": torch.ones(4, 4, 3, 3) for i in range(5)}
    hybrid = {n: t for n, t in towers["timm"].items() if not n.startswith("patch_embed.")} | stem
    assert set(as_timm(hybrid, "it", list(hybrid))) == set(hybrid)
    unlike = {f"stages.{i}.w": torch.ones(3) for i in range(9)} | {"cls_token": torch.ones(1, 1, 3)}
    assert set(as_timm(unlike, "it", list(unlike))) == set(unlike)


@pytest.mark.parametrize(("one", "other"), [("student.", "teacher."), ("online.backbone.", "target.backbone."),
                                            ("", "ema_model."), ("visual.", "visual_m.")])  # fmt: skip
def test_two_encoders_that_differ_are_refused_with_both_and_what_to_do(towers, one, other):
    moved = {name: tensor + 1 for name, tensor in towers["open_clip"].items()}
    with pytest.raises(CheckpointError) as caught:
        as_timm(prefixed(towers["open_clip"], one) | prefixed(moved, other), "it")
    told = str(caught.value)
    assert f"{one!r} and with {other!r}" in told and "save_file" in told and "\n" not in told
    written = {"state": prefixed(towers["open_clip"], one) | prefixed(moved, other)}
    remedy = told.partition("of its own, ")[2].partition(", with safetensors")[0]
    assert digest(as_timm(eval(remedy, written), "it")) == digest(as_timm(moved, "it"))


@pytest.mark.parametrize(("one", "other"), [("model.", "module.backbone."), ("", "copy.")])
def test_one_encoder_that_is_there_twice_is_read_once(towers, one, other):
    scaled = towers["plain"] | {"blocks.0.ls1.gamma": torch.ones(32)}
    twice = prefixed(scaled, one) | prefixed(scaled, other)
    assert digest(as_timm(twice, "it")) == digest(scaled)
    # What differs may be something that few encoders have.
    for odd in (f"{other}blocks.0.ls1.gamma", f"{one}patch_embed.proj.bias"):
        with pytest.raises(CheckpointError, match="it holds 2 encoders"):
            as_timm(twice | {odd: twice[odd] + 1}, "it")


@pytest.mark.parametrize("name", ["encoder.layers.0.self_attn.q_proj.lora_A.default.weight", "lora_down.weight",
                                  "encoder.layers.1.self_attn.q_proj.base_layer.weight"])  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_adapters_are_refused_with_what_to_do(towers, name, whole):
    state = towers["hf"] if whole else {}
    with pytest.raises(CheckpointError, match=rf"it has .*{name}.*LoRA adapter.*merge_and_unload"):
        as_timm(prefixed(state, "base_model.model.") | {f"base_model.model.{name}": torch.ones(2)}, "it")


def test_convolutional_networks_are_called_what_they_are(open_clip_whole):
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from torchvision.models import resnet18
    from transformers import ResNetConfig, ResNetModel

    vision = CLIPVisionCfg(layers=(1, 1, 1, 1), width=8, image_size=32)
    text = CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=4)
    theirs = ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"))
    for model, prefix in ((CLIP(16, vision, text), ""), (resnet18(), ""), (resnet18(), "module."), (theirs, "")):
        state = prefixed(model.state_dict(), prefix)
        with pytest.raises(CheckpointError, match=r"^it is a ResNet \(it has '.*'\), and its names do not tell which"):
            as_timm(state, "it")
        with pytest.raises(CheckpointError, match=r"^it is a ResNet .*, but lacks most of .*only vision"):
            as_timm(state, "it", ("stages.0.blocks.0.conv_dw.weight", "stem.0.weight"))
    with torch.device("meta"):
        other = create_model("convnext_atto", num_classes=0)
    with pytest.raises(CheckpointError, match=r"^it is a convolutional network \(it has 'stages.*; .*open_clip|timm"):
        as_timm(other.state_dict(), "it")


def test_a_text_tower_alone_is_called_that(hf_whole):
    state = {n: t for n, t in hf_whole.state_dict().items() if n.startswith("text_model.")}
    with pytest.raises(CheckpointError, match="it holds a text tower .*token_embedding.* and no encoder of images"):
        as_timm(state, "it")


@pytest.mark.parametrize("part", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_module"])
@pytest.mark.parametrize(
    ("dialect", "blocks"),
    [("hf", "encoder.layers.{}."), ("open_clip", "transformer.resblocks.{}."), ("timm", "blocks.{}.")],
)
@pytest.mark.parametrize("which", [(0, 1, 2), (1,)])
@pytest.mark.parametrize("prefix", ["", "_forward_module.model."])
def test_what_wraps_modules_inside_the_encoder_is_taken_off_and_told(
    towers, caplog, part, dialect, blocks, which, prefix
):
    state = towers[dialect]
    for number in which:
        block = blocks.format(number)
        state = {n.replace(block, f"{block}{part}."): t for n, t in state.items()}
    read = as_timm(prefixed(state, prefix), "it")
    assert digest(read) == digest(as_timm(towers[dialect], "it"))
    wrappers = ["_forward_module."] * bool(prefix) + [f"{part}."]
    assert f"it: its names are read without {', '.join(map(repr, wrappers))}" in caplog.messages


def test_names_that_would_be_one_without_a_wrapper_are_left(towers):
    twice = {n.replace("blocks.0.", "blocks.0._orig_mod."): t + 1 for n, t in towers["timm"].items()}
    read = as_timm(towers["timm"] | twice, "it")
    assert "blocks.0._orig_mod.norm1.weight" in read  # and the architecture has none


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_the_names_of_an_encoder_that_is_known_are_found_wherever_they_stand(prefix):
    from torchvision.models import resnet18

    encoder = create_model("resnet18", num_classes=0)  # whose names are torchvision's, but for the classifier's
    whole = resnet18().state_dict()
    found = as_timm(prefixed(whole, prefix) | {"epoch": torch.tensor(3)}, "it", encoder.state_dict())
    assert set(found) == set(encoder.state_dict())
    assert all(torch.equal(found[name], whole[name]) for name in found)
