"""Encoders: made by name without the cost of random weights, or found from a configuration or from shapes."""

import re

import psutil
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from mergebench.errors import CheckpointError, MergebenchError, UnknownNameError
from mergebench.weights import encoders
from mergebench.weights.encoders import SIZES, Encoder, encoder_of_config, infer_encoder
from mergebench.zoo.zoo import Zoo

TINY = "mergebench.tasks.tiny.model:create_encoder"
CLIP = "vit_base_patch32_clip_quickgelu_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's, as published


def shapes(encoder):
    return {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}


def test_a_function_of_a_module_is_an_encoder():
    encoder = Encoder(TINY)
    made = encoder.make()
    assert isinstance(made, VisionTransformer) and shapes(made) == shapes(Zoo("tiny").make_empty_encoder())
    assert (encoder.width, encoder.image_size) == (160, 32)
    assert (encoder.mean, encoder.std) == ((0.45, 0.43, 0.42), (0.29, 0.28, 0.28))


def test_a_name_of_timm_s_is_an_encoder_with_its_own_scales():
    encoder = Encoder(CLIP, {"depth": 1})
    assert (encoder.width, encoder.image_size) == (768, 224)
    assert encoder.mean == pytest.approx(MEAN) and encoder.std == pytest.approx(STD)
    assert Encoder(CLIP, SMALL).image_size == 32
    assert Encoder(CLIP, SMALL).width == 128


@pytest.mark.parametrize("options", [SMALL, SMALL | {"drop_path_rate": 0.1, "init_values": 0.1, "reg_tokens": 2}])
def test_an_encoder_of_timm_s_is_whole_but_for_its_weights(options):
    made = Encoder(CLIP, options).make()
    reference = timm.create_model(CLIP, num_classes=0, **options)
    assert shapes(made) == shapes(reference)
    assert not any(tensor.any() for tensor in made.state_dict().values())
    assert all(p.requires_grad and not p.is_meta for p in made.parameters())
    made.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(made.eval()(images), reference.eval()(images))
    assert Encoder(CLIP, options).make() is not Encoder(CLIP, options).make()


def test_an_encoder_takes_no_memory_before_its_weights_are_loaded():
    process = psutil.Process()
    before = process.memory_info().rss
    made = Encoder(CLIP).make()
    size = sum(p.nbytes for p in made.parameters())
    assert size > 300e6 and process.memory_info().rss - before < size / 4
    assert all(p.data_ptr() % 64 == 0 for p in made.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int64])
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 3)])
def test_zeros_are_zeros_of_every_type_and_shape(dtype, shape):
    made = encoders._zeros(torch.ones(shape, dtype=dtype))
    assert made.dtype == dtype and torch.equal(made, torch.zeros(shape, dtype=dtype))


def test_buffers_that_no_state_dict_holds_have_their_values(monkeypatch):
    class WithBuffer(VisionTransformer):
        def __init__(self, **options):
            super().__init__(**options)
            self.register_buffer("table", torch.arange(3.0), persistent=False)

    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, num_classes, **o: WithBuffer(num_classes=0, **o))
    assert Encoder(CLIP, SMALL).make().table.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("vit_base_patch32_clip_quickgelu_244", {}, f"unknown timm model .*; did you mean '{CLIP}'"),
        ("§§§", {}, f"unknown timm model '§§§'; there are: .*{CLIP}"),
        ("resnet18", {}, "encoder 'resnet18' makes a ResNet; merging needs a timm VisionTransformer"),
        ("torch.nn:Identity", {}, "encoder 'torch.nn:Identity' makes a Identity; merging needs"),
        ("nomodule:f", {}, "no encoder at 'nomodule:f'; write module:function"),
        ("mergebench.tasks.tiny.model:nothing", {}, "no encoder at .*; write module:function"),
        (":f", {}, "no encoder at ':f'; write module:function"),
        (CLIP, {"dept": 3}, f"encoder '{CLIP}' cannot be made with {{'dept': 3}}: .*unexpected keyword"),
        (CLIP, {"num_classes": 3}, "cannot be made with .*multiple values for keyword argument 'num_classes'"),
        (CLIP, {"embed_dim": 100, "num_heads": 3}, "cannot be made with"),
        (TINY, {"depth": 3}, "takes no options"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(name, options, told):
    with pytest.raises(MergebenchError, match=told) as caught:
        Encoder(name, options).make()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownNameError) == told.startswith("unknown")


def test_an_encoder_that_does_not_tell_its_scales_says_so():
    encoder = Encoder("timm.models.vision_transformer:VisionTransformer")
    assert encoder.image_size == 224 and encoder.width == 768
    with pytest.raises(MergebenchError, match="does not tell its mean"):
        _ = encoder.mean


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_are_those_of_every_registered_clip_of_that_name(size):
    for name in timm.list_models(f"vit_{size}_patch*_clip_*"):
        patch, image = re.fullmatch(r"vit_[a-z]+_patch(\d+)_(?:plus_)?clip_(?:quickgelu_)?(\d+)", name).groups()
        if "plus" in name:
            continue
        with torch.device("meta"):
            made = timm.create_model(name, num_classes=0)
        width, depth, heads, hidden = SIZES[size]
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

    from mergebench.weights.formats import as_timm

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
        ({"model_type": "siglip_vision_model"}, "is of a 'siglip_vision_model' model, not of a CLIP vision model"),
        ({"vision_config": None}, "is of a 'clip_vision_model' model, not of a CLIP vision model"),
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


@pytest.mark.parametrize("config", [{}, [1], {"vision_config": {}}, {"model_type": "vit"}])
def test_a_config_of_something_else_is_refused(config):
    with pytest.raises(MergebenchError, match="config.json"):
        encoder_of_config(config)


def test_code_of_one_s_own_takes_no_options():
    with pytest.raises(MergebenchError, match="takes no options"):
        Encoder("subprocess:run", {"args": "true", "shell": True}).make()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"depth": 10**6}, "depth is 1000000; at most 200 can be made"),
        ({"depth": [2, 10**400]}, "depth is beyond 1e15; at most 200"),
        ({"img_size": [32, 10**9]}, "img_size is 1000000000; at most 100000"),
        ({"reg_tokens": float("nan")}, "reg_tokens is nan; at most"),
        ({"embed_dim": 96_000, "depth": 12}, "would be .* GB; at most 69 are made"),
        ({"checkpoint_path": "/some/pickle"}, "checkpoint_path is no option of a model"),
    ],
)
def test_options_of_which_no_model_comes_to_an_end_are_refused(options, told):
    with pytest.raises(MergebenchError, match=told):
        Encoder(CLIP, options).make()


@pytest.mark.parametrize(
    ("field", "value"), [("num_hidden_layers", 10**6), ("hidden_size", 12 * 10**400), ("image_size", 10**9)]
)
def test_a_config_of_a_model_without_end_is_refused(field, value):
    with pytest.raises(MergebenchError, match=f"config.json: {field} is .*; at most"):
        encoder_of_config({"model_type": "clip_vision_model", field: value})
