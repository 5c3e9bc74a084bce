"""The tiny encoder: the structure that merge methods rely on, and how open_clip finds it."""

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from mergebench.tasks.tiny import model


def test_the_encoder_is_a_plain_vision_transformer_without_a_classifier():
    encoder = model.create_encoder()
    assert type(encoder) is VisionTransformer
    assert isinstance(encoder.head, torch.nn.Identity) and isinstance(encoder.norm, torch.nn.LayerNorm)
    assert encoder.global_pool == "token" and encoder.cls_token is not None
    assert encoder.pos_embed.shape == (1, 17, model.WIDTH)
    assert len(encoder.blocks) >= 4
    for block in encoder.blocks:
        assert block.attn.qkv.out_features == 3 * model.WIDTH
    assert not [m for m in encoder.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert all(m.p == 0 for m in encoder.modules() if isinstance(m, torch.nn.Dropout))


def test_twenty_experts_and_a_base_fit_the_package():
    parameters = sum(p.numel() for p in model.create_encoder().parameters())
    assert parameters <= 950_000
    assert not list(model.create_encoder().buffers())


def test_features_have_the_encoder_s_width():
    images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    features = model.create_encoder()(model.normalise(images))
    assert features.shape == (2, model.WIDTH)


def test_timm_knows_the_encoder_by_name():
    assert model.ENCODER in timm.list_models(model.ENCODER)
    assert isinstance(timm.create_model(model.ENCODER), VisionTransformer)
    with pytest.raises(ValueError, match="weights"):
        model.mergebench_tiny_vit(pretrained=True)


def test_normalise_centres_the_mean_colour():
    grey = torch.tensor(model.MEAN).mul(255).round().to(torch.uint8).expand(1, 32, 32, 3)
    assert model.normalise(grey).abs().max() < 0.01


def test_the_stem_refuses_other_sizes():
    with pytest.raises(ValueError, match="64"):
        model.ConvStem(64, 8, 3, 160)
