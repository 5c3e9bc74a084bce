"""What the layout tells a method: every parameter has one place, and a fused matrix is three."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.merging.layout import Layout, load_part


@pytest.mark.parametrize("pre_norm", [True, False])
def test_every_parameter_is_in_the_embedding_a_block_or_the_final_norm(mini, pre_norm):
    encoder = mini.encoder(depth=3, pre_norm=pre_norm)
    layout = Layout(encoder)
    assert [b.name for b in layout.blocks] == ["blocks.0", "blocks.1", "blocks.2"]
    inside = [n for n in layout.shapes if n.startswith("blocks.")]
    assert sorted([*layout.embedding, *inside, *layout.final_norm]) == sorted(encoder.state_dict())
    assert layout.final_norm == ("norm.weight", "norm.bias")
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= set(layout.embedding)
    assert ("norm_pre.weight" in layout.embedding) == pre_norm


def test_a_norm_behind_the_pooling_is_the_final_norm():
    encoder = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2, num_classes=0, global_pool="avg"
    )
    assert Layout(encoder).final_norm == ("fc_norm.weight", "fc_norm.bias")


def test_linear_layers_come_in_the_order_of_the_forward_pass(mini):
    encoder, seen = mini.encoder(), []
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):
            module.register_forward_hook(lambda *_, name=name: seen.append(f"{name}.weight"))
    with torch.no_grad():
        encoder(mini.images(0, 1))
    assert list(Layout(encoder).linear_weights) == seen
    assert len(seen) == 8


def test_fused_qkv_is_three_matrices_that_are_views(mini):
    encoder = mini.encoder()
    layout, name = Layout(encoder), "blocks.1.attn.qkv.weight"
    weight = encoder.state_dict()[name].clone()
    parts = layout.matrices(name, weight)
    assert [p.shape for p in parts] == [(32, 32)] * 3
    assert torch.equal(torch.cat(parts), weight)
    parts[2].zero_()
    assert (weight[64:] == 0).all()
    assert (weight[:64] != 0).any()


def test_other_matrices_are_one(mini):
    encoder = mini.encoder()
    layout = Layout(encoder)
    for name in ("blocks.0.attn.proj.weight", "blocks.0.mlp.fc1.weight", "pos_embed"):
        (matrix,) = layout.matrices(name, encoder.state_dict()[name])
        assert torch.equal(matrix, encoder.state_dict()[name].squeeze())


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("pos_embed", True),
        ("blocks.0.attn.qkv.weight", True),
        ("cls_token", False),
        ("norm.weight", False),
        ("blocks.0.mlp.fc1.bias", False),
        ("patch_embed.proj.weight", False),
    ],
)
def test_a_matrix_has_exactly_two_dimensions_larger_than_one(mini, name, matrix):
    assert Layout(mini.encoder()).is_matrix(name) is matrix


def test_loading_a_part_leaves_the_rest(mini):
    encoder, other = mini.encoder(0), mini.encoder(1)
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    load_part(encoder, other.state_dict(), ("cls_token", "norm.bias"))
    for name, value in encoder.state_dict().items():
        expected = other.state_dict() if name in ("cls_token", "norm.bias") else before
        assert torch.equal(value, expected[name]), name


def test_another_kind_of_model_is_refused():
    with pytest.raises(MergebenchError, match="the base is a Linear; merging needs a timm encoder"):
        Layout(nn.Linear(2, 2))


def test_a_model_with_a_classifier_is_refused():
    encoder = VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2, num_classes=5)
    with pytest.raises(MergebenchError, match="still has a classifier; make it with num_classes=0"):
        Layout(encoder)
