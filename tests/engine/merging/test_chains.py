"""Encoders as chains: gone through step by step, each is what its own forward pass is."""

import pytest
import timm
import torch
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from mergebench.conformance.miniature import ENCODERS
from mergebench.errors import MergebenchError
from mergebench.merging.chains import chain_of
from mergebench.merging.layout import Layout, input_rows


class Turned(ResNet):
    """A network that is no chain any more, though it is derived from one."""

    def forward_features(self, x):
        return super().forward_features(x.flip(-1))


SWIN = {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depths": (2, 1), "num_heads": (2, 4), "window_size": 4}
MADE = {
    **ENCODERS,
    "Swin": lambda: SwinTransformer(num_classes=0, **SWIN),
    "hybrid": lambda: timm.create_model("vit_tiny_r_s16_p8_224", num_classes=0, img_size=32, depth=2, embed_dim=48),
    "deep stem, squeeze and excitation": lambda: timm.create_model("test_resnet", num_classes=0),
    "average pooling in shortcuts": lambda: timm.create_model("resnet26d", num_classes=0),
    "one ConvNeXt of timm's": lambda: timm.create_model("test_convnext2", num_classes=0),
    "turned": lambda: Turned(BasicBlock, (1, 1, 1, 1), num_classes=0, stem_width=8, channels=(8, 16, 24, 32)),
    "another": lambda: timm.create_model("test_efficientnet", num_classes=0),
}
UNKNOWN = ("turned", "another")


@pytest.fixture(params=MADE)
def encoder(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = MADE[request.param]().eval()
    made.known = request.param not in UNKNOWN
    return made


def test_a_chain_is_the_forward_pass(encoder, mini):
    chain, images = chain_of(encoder), mini.images(0, 3)
    assert chain.in_sequence == encoder.known
    with torch.no_grad():
        values = chain.embed(encoder, images)
        for name in chain.blocks:
            values = encoder.get_submodule(name)(values)
        assert torch.equal(chain.read(encoder, values), encoder(images))


def test_every_tensor_has_one_place(encoder):
    layout = Layout(encoder)
    inside = [n for block in layout.blocks for n in layout.parameters_of(block)]
    assert sorted([*layout.embedding, *inside, *layout.final_norm]) == sorted(encoder.state_dict())
    assert all(layout.depth_of(n) is None for n in (*layout.embedding, *layout.final_norm))


def test_matrices_are_what_rows_of_inputs_are_multiplied_by(encoder, mini):
    layout, seen = Layout(encoder), {}
    for name in (n.removesuffix(".weight") for n in layout.linear_weights):
        encoder.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: (module, inputs[0].clone(), output.clone())})
        )
    with torch.no_grad():
        encoder(mini.images(1, 2))
    assert seen.keys() == {n.removesuffix(".weight") for n in layout.linear_weights}
    for name, (module, inputs, output) in seen.items():
        weight = layout.matrix(f"{name}.weight", module.weight)
        assert weight.ndim == 2 and sum(p * r for p, r, _ in [layout.matrix_shape(f"{name}.weight")]) == len(weight)
        expected = output.flatten(2).transpose(1, 2) if isinstance(module, nn.Conv2d) else output.flatten(1, -2)
        found = input_rows(module, inputs) @ weight.T
        torch.testing.assert_close(found + (0 if module.bias is None else module.bias), expected, atol=1e-4, rtol=1e-4)


def test_layers_that_are_fed_pixels_or_single_channels_are_not_among_them(encoder):
    layout, modules = Layout(encoder), dict(encoder.named_modules())
    for name in layout.linear_weights:
        module = modules[name.removesuffix(".weight")]
        assert isinstance(module, nn.Linear) or (module.groups == 1 and module.in_channels != 3)


def test_statistics_are_no_weights():
    encoder = ENCODERS["ResNet"]()
    layout = Layout(encoder)
    assert layout.statistics == {n for n, _ in encoder.named_buffers()}
    assert set(layout.floating) == {n for n, _ in encoder.named_parameters()}


def test_the_layer_that_is_fed_pixels_is_left_out_whatever_it_is():
    encoder = timm.create_model("tf_efficientnet_b0", num_classes=0)  # whose stem pads by itself
    assert "blocks.0.0.se.conv_reduce.weight" in Layout(encoder).linear_weights


def test_rows_are_thirds_where_that_is_known():
    encoder = timm.create_model("beit_base_patch16_224", num_classes=0)
    layout = Layout(encoder)
    assert layout.fused == {} and "blocks.0.attn.qkv.weight" in layout.linear_weights


def test_an_encoder_that_keeps_biases_from_pass_to_pass_is_refused():
    with pytest.raises(MergebenchError, match="is a TinyVit, which keeps attention biases from pass to pass"):
        Layout(timm.create_model("tiny_vit_5m_224", num_classes=0))


def test_a_distilled_transformer_s_features_are_of_two_tokens():
    encoder = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=0)
    assert not chain_of(encoder).first_token and chain_of(ENCODERS["ViT"]()).first_token
