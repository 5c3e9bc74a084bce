"""Encoders of other libraries: the same features under timm's names, the same bits on the way back."""

import copy

import pytest
import torch
from timm import create_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mergebench.errors import CheckpointError, UnknownNameError
from mergebench.weights.dialects import DIALECTS, HUGGING_FACE
from mergebench.weights.encoders import Encoder
from mergebench.weights.formats import TranslatedState, as_timm, from_timm
from mergebench.weights.states import SafetensorsState, check_state, digest, save_state

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 3, "num_heads": 2, "mlp_ratio": 1.5}
QUICK = "vit_base_patch32_clip_quickgelu_224"
B32 = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32,
}  # fmt: skip


def timm_features(state, images, name=QUICK, **options):
    encoder = create_model(name, num_classes=0, **SMALL | options).eval()
    encoder.load_state_dict(dict(as_timm(state, "it")))
    with torch.no_grad():
        return encoder(images)


def distance(a, b):
    return float((a - b).abs().max())


@pytest.mark.parametrize(("act", "name"), [("quick_gelu", QUICK), ("gelu", "vit_base_patch32_clip_224")])
@pytest.mark.parametrize("prefix", ["", "vision_model.", "module.vision_model."])
def test_a_hugging_face_vision_model_has_the_same_features(hf_vision, pixels, act, name, prefix):
    model = hf_vision(hidden_act=act)
    with torch.no_grad():
        expected = model(pixels).pooler_output
    state = {prefix + n: t for n, t in model.state_dict().items()}
    assert distance(timm_features(state, pixels, name), expected) < 1e-5
    other = QUICK if act == "gelu" else "vit_base_patch32_clip_224"
    assert distance(timm_features(state, pixels, other), expected) > 1e-3  # the two activations can be told apart


def test_the_vision_tower_of_a_whole_hugging_face_model_has_the_same_features(hf_whole, pixels):
    with torch.no_grad():
        expected = hf_whole.vision_model(pixels).pooler_output
    state = hf_whole.state_dict()
    # A buffer of earlier releases, which published files still have.
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    assert distance(timm_features(state, pixels), expected) < 1e-5
    read = as_timm(state, "it")
    parts = {name.split(".")[0] for name in read.others}
    assert parts == {"text_model", "text_projection", "visual_projection", "logit_scale", "vision_model"}
    used = {name for rule in read._rules.values() for name in rule.theirs}
    assert used | set(read.others) == set(state) and not used & set(read.others)


def test_a_whole_open_clip_model_has_the_same_features(open_clip_whole, pixels):
    with torch.no_grad():
        expected = open_clip_whole.encode_image(pixels)
    state = open_clip_whole.state_dict()
    assert distance(timm_features(state, pixels) @ state["visual.proj"], expected) < 1e-5


def test_a_bare_open_clip_tower_and_openai_s_own_state_have_the_same_features(open_clip_whole, pixels):
    with torch.no_grad():
        expected = open_clip_whole.encode_image(pixels)
    visual = open_clip_whole.visual.state_dict()
    openai = open_clip_whole.state_dict() | {
        n: torch.tensor(1) for n in ("input_resolution", "context_length", "vocab_size")
    }
    for state in (visual, openai, {f"module.{n}": t for n, t in openai.items()}):
        assert distance(timm_features(state, pixels) @ visual["proj"], expected) < 1e-5


def test_an_open_clip_model_with_timm_s_tower_gives_that_tower(mini):
    encoder = mini.encoder()
    state = {f"visual.trunk.{n}": t for n, t in encoder.state_dict().items()}
    state |= {"visual.head.proj.weight": torch.zeros(16, 32), "text.ln_final.weight": torch.zeros(8)}
    read = as_timm(state, "it")
    assert digest(read) == digest(encoder.state_dict())
    assert read.others == ("visual.head.proj.weight", "text.ln_final.weight")


def test_a_model_of_vit_b_32_s_size_has_the_same_features(hf_vision):
    model = hf_vision(**B32)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    encoder = Encoder(QUICK).make().eval()
    encoder.load_state_dict(dict(as_timm(model.state_dict(), "it")))
    with torch.no_grad():
        assert distance(encoder(images), model(images).pooler_output) < 1e-5


def test_a_state_with_timm_s_names_alone_is_given_back_as_it_is(mini, tmp_path):
    state = mini.encoder(pre_norm=False).state_dict()
    assert as_timm(state, "it") is state
    save_state(state, tmp_path / "e.safetensors")
    file = SafetensorsState(tmp_path / "e.safetensors")
    assert as_timm(file, "it") is file
    read = as_timm(state | {"head.weight": torch.zeros(10, 32), "head.bias": torch.zeros(10)}, "it")
    assert list(read) == list(state) and read.others == ("head.weight", "head.bias")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_there_and_back_is_bit_exact(hf_vision, hf_whole, open_clip_whole, dtype):
    bare = hf_vision().state_dict()
    states = [
        bare,
        {f"vision_model.{n}": t for n, t in bare.items()},
        hf_whole.state_dict(),
        open_clip_whole.visual.state_dict(),
        open_clip_whole.state_dict(),
        {f"module.{n}": t for n, t in open_clip_whole.state_dict().items()},
    ]
    for state in states:
        state = {n: t.to(dtype) for n, t in state.items()}
        read = as_timm(state, "it")
        others = {name: state[name] for name in read.others}
        back = from_timm(dict(read), read.dialect.name, others, read.prefix)
        assert set(back) == set(state)
        for name, tensor in state.items():
            assert back[name].dtype == dtype and back[name].shape == tensor.shape
            assert torch.equal(back[name], tensor)


@pytest.mark.parametrize("format", ["hf", "open_clip", "timm"])
def test_what_is_written_is_read_again(hf_vision, tmp_path, format):
    timm_state = dict(as_timm(hf_vision().state_dict(), "it"))
    save_state(from_timm(timm_state, format), tmp_path / "e.safetensors", {"recipe": "none"})
    read = as_timm(SafetensorsState(tmp_path / "e.safetensors"), "it")
    assert digest(read) == digest(timm_state)
    assert read.path == tmp_path / "e.safetensors"
    assert read.metadata == {"recipe": "none"}


def test_what_is_written_loads_in_the_other_libraries(hf_vision, hf_whole, open_clip_whole, pixels, tmp_path):
    from transformers import CLIPVisionModel

    source = hf_vision()
    with torch.no_grad():
        expected = source(pixels).pooler_output
    timm_state = dict(as_timm(source.state_dict(), "it"))

    source.config.save_pretrained(tmp_path)
    save_state(from_timm(timm_state, "hf"), tmp_path / "model.safetensors", {"format": "pt"})
    loaded, report = CLIPVisionModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(pixels).pooler_output, expected)

    visual = {n.removeprefix("visual."): t for n, t in from_timm(timm_state, "open_clip").items()}
    projection = open_clip_whole.visual.state_dict()["proj"]
    tower = copy.deepcopy(open_clip_whole.visual)
    tower.load_state_dict(visual | {"proj": projection}, strict=True)
    with torch.no_grad():
        assert distance(tower(pixels), expected @ projection) < 1e-5


class Counting(dict):
    """Notes which tensors are asked for."""

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = []

    def __getitem__(self, name):
        self.asked.append(name)
        return super().__getitem__(name)

    def shape(self, name):
        return tuple(super().__getitem__(name).shape)


def test_a_tensor_is_read_when_it_is_asked_for_and_no_sooner(hf_whole):
    source = Counting(hf_whole.state_dict())
    read = as_timm(source, "it")
    encoder = create_model(QUICK, num_classes=0, **SMALL)
    assert {name: read.shape(name) for name in read} == {n: tuple(t.shape) for n, t in encoder.state_dict().items()}
    assert "cls_token" in read and len(read) == len(encoder.state_dict()) and "nothing" not in read
    assert source.asked == []
    read["blocks.1.attn.qkv.bias"]
    assert source.asked == [f"vision_model.encoder.layers.1.self_attn.{p}_proj.bias" for p in "qkv"]
    with pytest.raises(KeyError):
        read["nothing"]


@pytest.mark.parametrize("library", ["hf", "open_clip"])
def test_every_missing_tensor_is_named_as_the_source_names_it(hf_whole, open_clip_whole, library):
    whole = {"hf": hf_whole, "open_clip": open_clip_whole}[library].state_dict()
    read = as_timm(whole, "it")
    for name in [name for rule in read._rules.values() for name in rule.theirs]:
        state = {n: t for n, t in whole.items() if n != name}
        with pytest.raises(CheckpointError) as caught:
            as_timm(state, "expert 'x' (file)")
        assert str(caught.value).startswith(f"expert 'x' (file) lacks {name!r}, which every ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [
        "vision_model.encoder.layers.00.layer_norm1.weight",
        "vision_model.embeddings.patch_embedding.bias",
        "vision_model.head.weight",
        "vision_model.cls",
    ],
)
def test_an_extra_tensor_in_the_encoder_is_named(hf_whole, extra):
    state = hf_whole.state_dict() | {extra: torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"^expert 'x' (has|lacks) ") as caught:
        as_timm(state, "expert 'x'")
    assert f"has {extra!r}, which no Hugging Face CLIP vision model has" in str(caught.value)


def test_blocks_are_numbered_without_gaps(open_clip_whole):
    state = {n.replace("visual.transformer.resblocks.1.", "visual.transformer.resblocks.7."): t
             for n, t in open_clip_whole.state_dict().items()}  # fmt: skip
    with pytest.raises(CheckpointError, match=r"lacks 'visual.transformer.resblocks.1.ln_1.weight'"):
        as_timm(state, "it")


@pytest.mark.parametrize("numbers", ["18446744073709551616", "-1", "x", "²"])
def test_block_numbers_that_are_none_are_refused_at_once(open_clip_whole, numbers):
    state = open_clip_whole.state_dict() | {f"visual.transformer.resblocks.{numbers}.ln_1.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"^it (lacks|has) 'visual\.transformer\.resblocks\."):
        as_timm(state, "it")


def test_parts_that_do_not_fit_are_named(hf_vision):
    whole = hf_vision().state_dict()
    name = "encoder.layers.2.self_attn.v_proj.weight"
    with pytest.raises(CheckpointError, match=rf"it: '{name}' is \(64, 128\), but '.*q_proj.weight' \(128, 128\)"):
        as_timm(whole | {name: torch.zeros(64, 128)}, "it")
    read = as_timm(whole | {name: whole[name].half()}, "it")
    with pytest.raises(CheckpointError, match=rf"it: '{name}' is torch.float16, but '.*q_proj.weight' torch.float32"):
        read["blocks.2.attn.qkv.weight"]


@pytest.mark.parametrize("state", [{}, {"weight": torch.zeros(2)}, nn.Linear(2, 2).state_dict()])
def test_names_of_no_known_encoder_are_refused_with_what_is_known(state):
    with pytest.raises(
        CheckpointError, match="^it holds .*, the names of no known encoder; known: timm.*open_clip.*SigLIP"
    ):
        as_timm(state, "it")


def test_another_backbone_or_patch_size_is_told_by_names_and_shapes(hf_vision):
    base = as_timm(hf_vision().state_dict(), "base")
    reference = dict(base)

    def told(**changed):
        with pytest.raises(CheckpointError) as caught:
            check_state(as_timm(hf_vision(**changed).state_dict(), "x"), reference, "expert 'x'")
        return str(caught.value)

    assert "'pos_embed' is (1, 5, 128), but (1, 17, 128) in the base; is it an expert of another" in told(patch_size=16)
    assert "'patch_embed.proj.weight' is (128, 3, 16, 16), but (128, 3, 8, 8)" in told(patch_size=16, image_size=64)
    assert "'cls_token' is (1, 1, 192), but (1, 1, 128)" in told(hidden_size=192)
    assert "has 'blocks.3.norm1.weight' (128,), which the base lacks" in told(num_hidden_layers=4)
    assert "lacks 'blocks.2.norm1.weight'" in told(num_hidden_layers=2)


def test_other_vision_transformers_cannot_be_written_as_a_clip(mini, open_clip_whole):
    plain = mini.encoder(pre_norm=False).state_dict()
    with pytest.raises(CheckpointError, match="cannot be written as open_clip: the encoder lacks 'norm_pre.weight'"):
        from_timm(plain, "open_clip")
    pooled = {n.replace("norm.", "fc_norm.") if n.startswith("norm.") else n: t for n, t in plain.items()}
    with pytest.raises(CheckpointError, match="cannot be written as hf: the encoder lacks 'norm_pre.weight'"):
        from_timm(pooled, "hf")
    scaled = VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=0,
                               pre_norm=True, init_values=0.1).state_dict()  # fmt: skip
    with pytest.raises(CheckpointError, match="the encoder has 'blocks.0.ls1.gamma', which no open_clip"):
        from_timm(scaled, "open_clip")
    clip = mini.encoder().state_dict()
    with pytest.raises(CheckpointError, match=r"'blocks.0.attn.qkv.bias' is \(97,\), which 'vision_model"):
        from_timm(clip | {"blocks.0.attn.qkv.bias": torch.zeros(97)}, "hf")
    with pytest.raises(CheckpointError, match=r"'cls_token' is \(2, 1, 32\), which 'visual.class_embedding' cannot"):
        from_timm(clip | {"cls_token": torch.zeros(2, 1, 32)}, "open_clip")
    with pytest.raises(CheckpointError, match="'visual.ln_post.bias' is the encoder's and another part's"):
        from_timm(clip, "open_clip", {"visual.ln_post.bias": torch.zeros(32)})
    with pytest.raises(UnknownNameError, match="unknown format 'openclip'; did you mean 'open_clip'"):
        from_timm(clip, "openclip")


def test_the_tables_name_every_tensor_once():
    encoder = create_model(QUICK, num_classes=0, **SMALL)
    for dialect in DIALECTS.values():
        rules = dialect.of_depth(3, "")
        assert sorted(rule.timm for rule in rules) == sorted(encoder.state_dict())
        theirs = [name for rule in rules for name in rule.theirs]
        assert len(set(theirs)) == len(theirs)


def test_a_state_can_be_translated_in_a_dialect_of_one_s_choice(hf_vision):
    state = hf_vision().state_dict()
    assert digest(TranslatedState(state, HUGGING_FACE)) == digest(as_timm(state, "it"))
