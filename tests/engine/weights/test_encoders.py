"""Encoders: made by name without the cost of random weights."""

import errno
import os
from types import SimpleNamespace

import psutil
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.weights import encoders
from mergebench.weights.descriptions import encoder_of_config
from mergebench.weights.encoders import Encoder
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
        ("torch.nn:Identity", {}, "encoder 'torch.nn:Identity' is a Identity; merging needs a timm encoder"),
        ("resnet18", {"projection": 8}, "encoder 'resnet18': projection is for vision transformers; leave it out"),
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


def test_images_of_any_size_go_through_convolutions():
    plain, sized = Encoder("resnet18"), Encoder("resnet18", {"img_size": 64})
    assert (plain.image_size, sized.image_size, sized.width) == (224, 64, 512)
    assert sized.arguments == {}  # timm's ResNet takes none
    assert list(sized.make().state_dict()) == list(plain.make().state_dict())
    assert Encoder(CLIP, SMALL).arguments == SMALL
    with pytest.raises(MergebenchError, match="cannot be made with .*unexpected keyword argument 'depth'"):
        Encoder("resnet18", {"img_size": 64, "depth": 3}).make()


def test_features_are_as_long_as_what_stands_behind_the_last_block_makes_them():
    assert Encoder("mobilenetv3_small_050").width == 1024  # and 288 in front of that


def test_an_encoder_of_images_that_are_no_squares_is_refused():
    with pytest.raises(MergebenchError, match=f"encoder '{CLIP}' takes images of 32x64; only squares are made"):
        _ = Encoder(CLIP, SMALL | {"img_size": (32, 64)}).image_size


def test_an_encoder_for_which_the_system_has_no_room_is_one_line(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(encoders, "mmap", SimpleNamespace(mmap=full, MAP_PRIVATE=0, MAP_ANONYMOUS=0))
    with pytest.raises(MergebenchError, match=f"encoder '{CLIP}' with {{'depth': 1}}: Cannot allocate memory"):
        Encoder(CLIP, {"depth": 1}).make()
