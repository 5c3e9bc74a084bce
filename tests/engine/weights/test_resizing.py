"""Position embeddings for another image size: timm's own loading gives the same features, from every dialect."""

import pytest
import timm
import torch
from jsonargparse.typing import PositiveInt
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, resize_pos_embed
from timm.models.vision_transformer import checkpoint_filter_fn

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights import formats
from mergebench.weights.encoders import Encoder, check_base
from mergebench.weights.resizing import (
    WIDEST,
    Grid,
    ResizedState,
    as_read,
    encoder_at,
    for_encoder,
    like_base,
    noted,
    sizes,
)

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
TOWER = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 3, "num_heads": 2, "mlp_ratio": 1.5}
QUICK = "vit_base_patch16_clip_quickgelu_224"
# A class token with a position of its own; none at all, and attention pooling; register tokens; a class token without
# a position; two tokens in front; a convolutional stem, a token of which is of 16 pixels.
KINDS = {
    "vit_small_patch16_224": SMALL,
    "vit_base_patch16_siglip_224": SMALL,
    "vit_small_patch14_reg4_dinov2": SMALL,
    "deit3_small_patch16_224": SMALL,
    "deit_small_distilled_patch16_224": SMALL,
    "vit_tiny_r_s16_p8_224": {"img_size": 64, "depth": 2},
}


def weights(name, options):
    """An encoder's, with nothing left at zero."""
    model = timm.create_model(name, num_classes=0, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {n: t + 0.1 * torch.randn_like(t) if t.is_floating_point() else t for n, t in model.state_dict().items()}


def features(name, options, state, side):
    model = timm.create_model(name, num_classes=0, **options | {"img_size": side}).eval()
    model.load_state_dict(dict(state))
    with torch.no_grad():
        return model(torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("factor", [0.5, 1.5, 2])
def test_features_are_those_of_a_model_that_timm_loads(name, factor):
    options = KINDS[name]
    side, state = int(options["img_size"] * factor), weights(name, options)
    if side % Grid.of(Encoder(name, options).make()).patch:
        side = options["img_size"] * 3
    theirs = timm.create_model(name, num_classes=0, **options | {"img_size": side})
    loaded = checkpoint_filter_fn(dict(state), theirs)
    encoder = encoder_at(Encoder(name, options), side)
    own = for_encoder(state, encoder, "the base")
    check_base(own, encoder, "the base")
    assert isinstance(own, ResizedState) and own.shape("pos_embed") == tuple(theirs.pos_embed.shape)
    assert torch.equal(features(name, options, own, side), features(name, options, loaded, side))
    prefix = Grid.of(theirs).prefix
    assert torch.equal(own["pos_embed"][:, :prefix], state["pos_embed"][:, :prefix])
    assert {n for n in state if own[n] is not state[n]} == {"pos_embed"}


def test_open_clip_s_own_loading_gives_the_same(open_clip_whole):
    """It interpolates as timm does; transformers does not antialias, and its bicubic is another."""
    saved, side = open_clip_whole.state_dict(), 48
    encoder = encoder_at(Encoder(QUICK, TOWER), side)
    made = encoder.make().eval()
    made.load_state_dict(dict(for_encoder(formats.as_timm(saved, "the base"), encoder, "the base")))
    vision = CLIPVisionCfg(layers=3, width=128, head_width=64, patch_size=8, image_size=side, mlp_ratio=1.5)
    theirs = CLIP(16, vision, CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=4), True).eval()
    resize_pos_embed(saved, theirs)
    theirs.load_state_dict(saved)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.allclose(made(pixels) @ saved["visual.proj"], theirs.encode_image(pixels), atol=1e-4)


@pytest.mark.parametrize("dialect", ["timm", "hf", "open_clip"])
def test_every_dialect_is_taken_to_the_same(dialect):
    state = weights(QUICK, TOWER)
    encoder = encoder_at(Encoder(QUICK, TOWER), 56)
    want = for_encoder(state, encoder, "the base")
    own = for_encoder(formats.as_timm(formats.from_timm(state, dialect), "the base"), encoder, "the base")
    assert set(own) == set(want) and all(torch.equal(own[name], want[name]) for name in want)


def test_experts_are_interpolated_as_their_base_is_or_are_of_its_new_size():
    base, name = weights("vit_small_patch16_224", SMALL), "vit_small_patch16_224"
    encoder = encoder_at(Encoder(name, SMALL), 48)
    moved = {n: t + 0.01 * torch.randn(t.shape, generator=torch.Generator().manual_seed(4)) for n, t in base.items()}
    at_48 = for_encoder(base, encoder, "the base")
    small = like_base(moved, at_48, encoder, "expert 'a'")
    large = like_base({**moved, "pos_embed": at_48["pos_embed"] + 1}, at_48, encoder, "expert 'b'")
    vector = ResizedState({"pos_embed": moved["pos_embed"] - base["pos_embed"]}, 4, Grid.of(encoder.make()))[
        "pos_embed"
    ]
    assert torch.allclose(small["pos_embed"] - at_48["pos_embed"], vector, atol=1e-6)  # of the file's, and no more
    assert large["pos_embed"] is not None and not isinstance(large, ResizedState)
    assert as_read(small) is moved and as_read(large) is large and sizes(at_48, encoder) == {32, 48}
    told = {"image_size": 48, "base": 32, "experts": {"a": 32, "b": 48}}
    assert noted(at_48, encoder, {"a": small, "b": large}) == {"interpolated": told}
    assert noted(base, Encoder(name, SMALL), {"a": moved}) == {}
    third = weights(name, SMALL | {"img_size": 64})
    with pytest.raises(CheckpointError, match="images of 64 pixels, the base of 32, taken to 48; give --image-size 64"):
        like_base(third, at_48, encoder, "expert 'c'")
    with pytest.raises(CheckpointError, match="images of 64 pixels, the base of 32; give --image-size 64"):
        like_base(third, base, Encoder(name, SMALL), "expert 'c'")


def test_number_formats_stay():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        state = {n: t.to(dtype) for n, t in weights("vit_small_patch16_224", SMALL).items()}
        own = for_encoder(state, encoder_at(Encoder("vit_small_patch16_224", SMALL), 48), "the base")
        assert own["pos_embed"].dtype == dtype and own["pos_embed"].isfinite().all()


def test_without_position_embeddings_nothing_is_interpolated():
    options = SMALL | {"pos_embed": "none"}
    state, encoder = (
        weights("vit_small_patch16_224", options),
        encoder_at(Encoder("vit_small_patch16_224", options), 48),
    )
    assert for_encoder(state, encoder, "the base") is state
    assert encoder.image_size == 48 and features(encoder.name, options, state, 48).isfinite().all()


@pytest.mark.parametrize("name", ["vit_relpos_small_patch16_224", "eva02_tiny_patch14_224", "beit_base_patch16_224"])
def test_encoders_of_other_positions_are_refused_by_name(name):
    told = f"encoder '{name}' is a .*; to other sizes only vision transformers are taken"
    with pytest.raises(MergebenchError, match=told):
        encoder_at(Encoder(name), 448)


def test_a_size_of_one_s_own_encoder_is_its_own():
    own = Encoder("mergebench.tasks.tiny.model:create_encoder")
    assert encoder_at(own, 32) is own and encoder_at(own, None) is own
    assert type(encoder_at(Encoder("vit_base_patch32_clip_224"), PositiveInt(64)).options["img_size"]) is int
    with pytest.raises(
        MergebenchError, match="--image-size 64: encoder .*:create_encoder' is a function's, for images of"
    ):
        encoder_at(own, 64)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (225, "--image-size 225: encoder .* has patches of 32 pixels, which do not divide that; give 224 or 256"),
        (31, "do not divide that; give 32$"),
        (0, "give 32$"),
        (-32, "give 32$"),
        (32 * (WIDEST + 1), f"images of at most {32 * WIDEST} are taken"),
        (10**30, f"images of at most {32 * WIDEST} are taken"),
    ],
)
def test_sizes_that_no_patches_make_are_refused(size, told):
    with pytest.raises(MergebenchError, match=told):
        encoder_at(Encoder("vit_base_patch32_clip_quickgelu_224"), size)


@pytest.mark.parametrize("tokens", [1, 4, 16])
def test_positions_of_no_square_are_refused(tokens):
    state = weights("vit_small_patch16_224", SMALL) | {"pos_embed": torch.zeros(1, tokens, 64)}
    with pytest.raises(CheckpointError, match=rf"'pos_embed' is \(1, {tokens}, 64\), which is no square of patches"):
        for_encoder(state, encoder_at(Encoder("vit_small_patch16_224", SMALL), 48), "the base")


def test_values_that_cannot_be_merged_are_refused_as_elsewhere():
    encoder, state = encoder_at(Encoder("vit_small_patch16_224", SMALL), 48), weights("vit_small_patch16_224", SMALL)
    odd = {"NaN": state["pos_embed"] / 0, "complex64": state["pos_embed"].to(torch.complex64)}
    odd |= {"int64": state["pos_embed"].long(), "sparse": state["pos_embed"].to_sparse()}
    odd |= {"no values": state["pos_embed"].to("meta")}
    for told, tensor in odd.items():
        with pytest.raises(CheckpointError, match=f"'pos_embed' (is|holds|has).*{told}"):
            check_base(for_encoder({**state, "pos_embed": tensor}, encoder, "the base"), encoder, "the base")


def test_convolutions_take_images_of_any_size_as_they_are():
    encoder = encoder_at(Encoder("resnet18"), 64)
    assert (encoder.image_size, encoder.options) == (64, {"img_size": 64})
    state = encoder.make().state_dict()
    assert for_encoder(state, encoder, "the base") is state
    for size in (0, 5000):
        with pytest.raises(MergebenchError, match=f"--image-size {size}: .* is a ResNet; .*4096 pixels"):
            encoder_at(Encoder("resnet18"), size)


def test_what_has_windows_is_of_one_size():
    with pytest.raises(MergebenchError, match="is a SwinTransformer; to other sizes only"):
        encoder_at(Encoder("swin_tiny_patch4_window7_224"), 448)


def test_images_that_convolutions_shrink_to_nothing_are_refused():
    with pytest.raises(MergebenchError, match="is a ConvNeXt; .* convolutions that such images go through"):
        encoder_at(Encoder("test_convnext"), 8)
