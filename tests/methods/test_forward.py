"""The forward pass for fewer operations: features and gradients are the encoder's own."""

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from mergebench.methods import forward
from mergebench.methods.forward import features_of

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
ENCODERS = {
    "plain": {},
    "one block": {"depth": 1},
    "layer scale": {"init_values": 0.1},
    "no biases": {"qkv_bias": False, "proj_bias": False},
    "normed queries": {"qk_norm": True},
    "normed products": {"scale_attn_norm": True, "scale_mlp_norm": True},
    "registers": {"reg_tokens": 2},
    "no norm at the end": {"final_norm": False},
    "norm after pooling": {"fc_norm": True},
    "all tokens": {"global_pool": "avg"},
    "pooled by attention": {"global_pool": "map"},
    "nothing pooled": {"global_pool": ""},
    "another block": {"block_fn": timm.models.vision_transformer.ResPostBlock},
    "another attention": {"attn_layer": "diff"},
}


def encoder_of(dtype=torch.float64, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = VisionTransformer(**(SMALL | options))
        for parameter in encoder.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder.to(dtype).eval()


def slopes(encoder, features):
    weights = torch.linspace(-1, 1, features.numel(), dtype=features.dtype).view_as(features)
    found = torch.autograd.grad((features * weights).sum(), list(encoder.parameters()), allow_unused=True)
    return {n: g for (n, _), g in zip(encoder.named_parameters(), found, strict=True) if g is not None}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("options", ENCODERS.values(), ids=ENCODERS)
def test_features_and_gradients_are_the_encoders(options, count):
    encoder = encoder_of(**options)
    images = torch.randn(count, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected, found = encoder(images), features_of(encoder, images)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    wanted, given = slopes(encoder, expected), slopes(encoder, found)
    assert wanted.keys() == given.keys()
    for name, slope in wanted.items():
        torch.testing.assert_close(given[name], slope, rtol=1e-8, atol=1e-10, msg=name)


def test_in_float32_they_differ_by_rounding():
    encoder = encoder_of(torch.float32)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    wanted, given = (slopes(encoder, features) for features in (encoder(images), features_of(encoder, images)))
    for name, slope in wanted.items():
        assert (given[name] - slope).norm() <= 1e-5 * slope.norm().clamp(min=1e-3), name


def test_the_last_block_sees_the_class_token_alone(monkeypatch):
    encoder, seen = encoder_of(), []
    for block in encoder.blocks:
        block.mlp.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    features_of(encoder, torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    assert seen == [17, 1]


def test_an_encoder_with_a_pass_of_its_own_goes_its_own_way():
    class Own(VisionTransformer):
        def forward_features(self, x, **masks):
            return 2 * super().forward_features(x, **masks)

    encoder, images = Own(**SMALL).eval(), torch.ones(1, 3, 32, 32)
    assert not forward.is_known(encoder)
    assert torch.equal(features_of(encoder, images), encoder(images))
