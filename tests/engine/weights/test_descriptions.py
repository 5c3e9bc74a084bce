"""Which of timm's encoders a config.json or shapes describe: the one that computes the same."""

import re

import pytest
import timm
import torch

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.descriptions import CLIP as CLIP_FAMILY
from mergebench.weights.descriptions import FAMILIES, encoder_of_config, infer_encoder
from mergebench.weights.encoders import Encoder
from mergebench.weights.formats import as_timm, from_timm

CLIP = "vit_base_patch32_clip_quickgelu_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}


def shapes(encoder):
    return {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}


@pytest.mark.parametrize("size", CLIP_FAMILY.sizes)
def test_the_sizes_are_those_of_every_registered_clip_of_that_name(size):
    for name in timm.list_models(f"vit_{size}_patch*_clip_*"):
        patch, image = re.fullmatch(r"vit_[a-z]+_patch(\d+)_(?:plus_)?clip_(?:quickgelu_)?(\d+)", name).groups()
        if "plus" in name:
            continue
        with torch.device("meta"):
            made = timm.create_model(name, num_classes=0)
        width, depth, heads, hidden = CLIP_FAMILY.sizes[size]
        assert (made.embed_dim, len(made.blocks), made.blocks[0].attn.num_heads) == (width, depth, heads)
        assert made.blocks[0].mlp.fc1.out_features == hidden
        assert made.patch_embed.patch_size == (int(patch),) * 2 and made.patch_embed.img_size == (int(image),) * 2
        assert made.norm.eps == 1e-5
        assert ("quickgelu" in name) == ("QuickGELU" in repr(made.blocks[0].mlp.act))


# What the published configurations of these models say.
PUBLISHED = {
    "vit_base_patch32_clip_quickgelu_224": {},
    "vit_base_patch16_clip_quickgelu_224": {"patch_size": 16},
    "vit_large_patch14_clip_quickgelu_224": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "patch_size": 14,
    },
    "vit_large_patch14_clip_quickgelu_336": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "patch_size": 14, "image_size": 336,
    },
    "vit_huge_patch14_clip_224": {
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
        "patch_size": 14, "hidden_act": "gelu",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_give_the_registered_names(name):
    from transformers import CLIPVisionConfig

    config = CLIPVisionConfig(**PUBLISHED[name]).to_dict()
    expected = Encoder(name)
    assert encoder_of_config(config) == expected
    assert encoder_of_config({"model_type": "clip", "vision_config": config, "text_config": {}}) == expected
    assert encoder_of_config({"model_type": "clip", "vision_config": PUBLISHED[name]}) == expected


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
@pytest.mark.parametrize(("width", "hidden", "heads"), [(128, 192, 2), (56, 488, 7), (40, 8, 1)])
def test_any_configuration_gives_the_model_that_transformers_makes(act, width, hidden, heads):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=width, intermediate_size=hidden, num_hidden_layers=2, num_attention_heads=heads, image_size=48,
        patch_size=16, hidden_act=act,
    )  # fmt: skip
    torch.manual_seed(0)
    model = CLIPVisionModel(config).eval()
    made = encoder_of_config(config.to_dict()).make().eval()
    state = as_timm(model.state_dict(), "it")
    made.load_state_dict(dict(state))
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert float((made(images) - model(images).pooler_output).abs().max()) < 1e-5
    inferred = infer_encoder(state, act, heads=heads)
    assert inferred.name == encoder_of_config(config.to_dict()).name
    assert shapes(inferred.make()) == shapes(made)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"hidden_act": "relu"}, "config.json: hidden_act is 'relu'; only quick_gelu or gelu can be made"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06; only 1e-05"),
        ({"num_channels": 1}, "num_channels is 1; only 3"),
        ({"hidden_size": 100, "num_attention_heads": 12}, "hidden_size 100 cannot be divided among 12 heads"),
        ({"image_size": [224, 196]}, r"image_size is \[224, 196\], not a whole number above zero"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, not a whole number above zero"),
        ({"patch_size": True}, "patch_size is True, not a whole"),
        ({"model_type": "dinov2_with_registers"}, "is of a 'dinov2_with_registers' model, and only those of CLIP, ViT"),
        ({"vision_config": None}, "is of a 'clip_vision_model' model, and only"),
        ({"model_type": ["clip"]}, r"is of a \['clip'\] model, and only"),
        ({"model_type": "vit", "qkv_bias": False}, "qkv_bias is False; only True"),
        ({"model_type": "vit", "hidden_act": "relu"}, "hidden_act is 'relu'; only gelu or quick_gelu or gelu_pyt"),
        ({"model_type": "vit", "layer_norm_eps": 2}, r"layer_norm_eps is 2, not a number in \(0, 1\)"),
        ({"model_type": "siglip", "vision_config": {"vision_use_head": False}}, "vision_use_head is False; only True"),
        ({"model_type": "dinov2", "mlp_ratio": -1}, "mlp_ratio is -1, not a number above zero"),
        ({"architecture": CLIP, "pretrained_cfg": [1]}, r"as timm\'s \(its pretrained_cfg is no section\)"),
        ({"architecture": CLIP, "model_args": 3}, "config.json cannot be read as timm's; name the encoder"),
        ({"architecture": CLIP, "pretrained_cfg": {"mean": 1, "std": 1}}, "cannot be read as timm's; name the encoder"),
        ({"architecture": CLIP, "pretrained_cfg": {"input_size": 224}}, "cannot be read as timm's; name the encoder"),
    ],
)
def test_configurations_that_cannot_be_made_are_refused_in_one_line(changed, told):
    with pytest.raises(MergebenchError, match=told) as caught:
        encoder_of_config({"model_type": "clip_vision_model", **changed})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("vit_base_patch32_clip_quickgelu_224", "quick_gelu"),
        ("vit_base_patch16_clip_224", "gelu"),
        ("vit_large_patch14_clip_quickgelu_336", "quick_gelu"),
        ("vit_huge_patch14_clip_224", "gelu"),
        ("vit_gigantic_patch14_clip_224", "gelu"),
    ],
)
def test_shapes_alone_give_the_registered_name(name, act):
    with torch.device("meta"):
        state = timm.create_model(name, num_classes=0).state_dict()
    assert infer_encoder(state, act) == Encoder(name)


def test_shapes_of_one_s_own_give_the_nearest_name_and_options():
    state = Encoder(CLIP, SMALL).make().state_dict()
    inferred = infer_encoder(state)
    assert shapes(inferred.make()) == {n: tuple(t.shape) for n, t in state.items()}
    assert inferred.make().blocks[0].attn.num_heads == 2
    assert infer_encoder(state, heads=4).make().blocks[0].attn.num_heads == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("norm_pre.weight"), "it has no 'norm_pre.weight', as in no CLIP"),
        (lambda s: s.pop("blocks.1.norm1.bias"), "it has no 'blocks.1.norm1.bias', as in no CLIP"),
        (lambda s: s.update({"blocks.0.ls1.gamma": torch.zeros(128)}), r"'blocks.0.ls1.gamma' is \(128,\), as in no"),
        (lambda s: s.update(pos_embed=torch.zeros(1, 16, 128)), r"'pos_embed' is \(1, 16, 128\), as in no"),
        (lambda s: s.update(pos_embed=torch.zeros(17, 128)), r"'pos_embed' is \(17, 128\), as in no"),
        (lambda s: s.update(pos_embed=torch.zeros(1, 17, 100)), "it is 100 wide, as in no .*number of heads"),
        (lambda s: s.update({"norm.weight": torch.zeros(7)}), r"'norm.weight' is \(7,\), as in no"),
    ],
)
def test_weights_of_no_clip_are_refused_by_the_tensor(change, told):
    state = Encoder(CLIP, SMALL).make().state_dict()
    change(state)
    with pytest.raises(CheckpointError, match=told):
        infer_encoder(state)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"architecture": "vit_base_patch32_clip_224"}, "vit_base_patch32_clip_224"),
        ({"architecture": "vit_base_patch16_224", "model_args": {"img_size": 384}}, "vit_base_patch16_224"),
    ],
)
def test_a_config_of_timm_s_names_its_own_model(config, name):
    """With every field of a CLIP's missing, these would pass for OpenAI's ViT-B/32."""
    scales = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    encoder = encoder_of_config(config | {"pretrained_cfg": scales})
    assert (encoder.name, encoder.options) == (name, config.get("model_args", {}))
    assert (encoder.mean, encoder.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize("config", [{}, [1], {"vision_config": {}}, {"model_type": "deit"}])
def test_a_config_of_something_else_is_refused(config):
    with pytest.raises(MergebenchError, match="config.json"):
        encoder_of_config(config)


@pytest.fixture(scope="module")
def other_families():
    """Model type -> makes a small model of transformers', what its classifiers read, and where that is."""
    from transformers import Dinov2Config, Dinov2Model, SiglipVisionConfig, SiglipVisionModel, ViTConfig, ViTModel

    kinds = {
        "vit": (ViTConfig, ViTModel, lambda out: out.last_hidden_state[:, 0]),
        "dinov2": (Dinov2Config, Dinov2Model, lambda out: out.pooler_output),
        "siglip_vision_model": (SiglipVisionConfig, SiglipVisionModel, lambda out: out.pooler_output),
    }

    def make(kind, **changed):
        config, model, features = kinds[kind]
        small = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 3,
                 "image_size": 32, "patch_size": 8}  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            made = model(config(**small | changed)).eval()
            for parameter in made.parameters():
                parameter.data += 0.2 * torch.randn_like(parameter)
        return made, features

    return make


CASES = [
    ("vit", {}), ("vit", {"layer_norm_eps": 1e-2}), ("vit", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-6}),
    ("vit", {"hidden_act": "quick_gelu", "num_attention_heads": 6}), ("vit", {"add_pooling_layer": True}),
    ("dinov2", {}), ("dinov2", {"mlp_ratio": 3}), ("dinov2", {"layer_norm_eps": 1e-3}),
    ("dinov2", {"use_swiglu_ffn": True}), ("dinov2", {"use_mask_token": False, "hidden_act": "gelu_pytorch_tanh"}),
    ("siglip_vision_model", {}), ("siglip_vision_model", {"hidden_act": "gelu"}),
    ("siglip_vision_model", {"layer_norm_eps": 1e-2, "num_attention_heads": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changed"), CASES)
def test_vit_dinov2_and_siglip_have_the_same_features_in_memory_and_from_their_files(
    other_families, kind, changed, tmp_path, caplog
):
    from safetensors.torch import load_file

    model, features = other_families(kind, **changed)
    model.save_pretrained(tmp_path)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        expected = features(model(images))
    encoder = encoder_of_config(model.config.to_dict())
    saved = load_file(tmp_path / "model.safetensors")
    for state in (saved, model.state_dict(), {f"model.{n}": t for n, t in saved.items()}):
        made = encoder.make().eval()
        made.load_state_dict(dict(as_timm(state, "it")))
        with torch.no_grad():
            assert float((made(images) - expected).abs().max()) < 2e-5 * float(expected.abs().max())
    back = from_timm(dict(as_timm(saved, "it")), "hf")
    aside = {n for n in saved if n.startswith("pooler.") or n.endswith("mask_token")}
    assert caplog.messages[0].startswith("it: 'embeddings.mask_token' beside") or kind != "dinov2" or not aside
    back = {n.removeprefix("vision_model."): t for n, t in back.items()}
    assert back.keys() == saved.keys() - aside and all(torch.equal(t, saved[n]) for n, t in back.items())


@pytest.mark.parametrize("field", ["layer_norm_eps", "hidden_act", "num_attention_heads"])
@pytest.mark.parametrize("kind", ["vit", "dinov2", "siglip_vision_model"])
def test_what_no_shape_tells_is_taken_from_the_configuration(other_families, kind, field):
    model, features = other_families(kind)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(6))
    other = {"layer_norm_eps": 1e-2, "hidden_act": "quick_gelu", "num_attention_heads": 6}[field]
    made = encoder_of_config(model.config.to_dict() | {field: other}).make().eval()
    made.load_state_dict(dict(as_timm(model.state_dict(), "it")))
    with torch.no_grad():
        assert float((made(images) - features(model(images))).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("kind", "changed", "name"),
    [
        ("vit", {"layer_norm_eps": 1e-6}, "vit_base_patch16_224"),
        ("vit", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
                 "patch_size": 32, "image_size": 384, "layer_norm_eps": 1e-6}, "vit_large_patch32_384"),
        ("dinov2", {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518}, "vit_small_patch14_dinov2"),
        ("dinov2", {"hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24, "use_swiglu_ffn": True,
                    "image_size": 518}, "vit_giant_patch14_dinov2"),
        ("siglip_vision_model", {"hidden_act": "gelu"}, "vit_base_patch16_siglip_224"),
    ],
)  # fmt: skip
def test_published_configurations_of_the_other_families_give_the_registered_names(kind, changed, name):
    assert encoder_of_config({"model_type": kind, **changed}) == Encoder(name)


def test_what_a_configuration_leaves_out_is_what_transformers_takes():
    from transformers import AutoConfig

    for kind, family in FAMILIES.items():
        config = AutoConfig.for_model(kind)
        config = getattr(config, "vision_config", config)
        for field, default in family.defaults.items():
            if field != "intermediate_size" or "mlp_ratio" not in family.defaults:
                assert getattr(config, field) == default, (kind, field)


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(set(FAMILIES) - {"clip", "siglip"}))
def test_the_sizes_of_every_family_are_those_of_the_registered_models(kind):
    family = FAMILIES[kind]
    for name in timm.list_models("vit_*"):
        found = re.fullmatch(family.names, name)
        if not found or found["size"] not in family.sizes:
            continue
        with torch.device("meta"):
            made = timm.create_model(name, num_classes=0)
        block, (width, depth, heads, hidden) = made.blocks[0], family.sizes[found["size"]]
        assert (made.embed_dim, len(made.blocks), block.attn.num_heads) == (width, depth, heads), name
        assert (block.mlp.fc1.out_features, made.norm.eps) == (hidden, family.epsilon), name
        assert made.patch_embed.patch_size[0] == int(found["patch"]), name
        assert made.patch_embed.img_size[0] == family.side or made.patch_embed.img_size[0] == int(found["side"]), name


@pytest.mark.parametrize("epsilon", [1, "1e-6", 0.0, 1.5, True])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    with pytest.raises(MergebenchError, match="norm_eps is .*, not a number in"):
        Encoder(CLIP, {"norm_eps": epsilon}).make()
