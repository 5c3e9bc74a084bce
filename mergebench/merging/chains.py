"""Encoders as chains: an embedding, blocks one after the other, and what reads features from the last one's output."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from timm.models.convnext import ConvNeXt
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


@dataclass(frozen=True)
class Chain:
    """How an encoder's forward pass is gone through, of which no module is held: it serves every copy.

    Args:
        blocks: names of the modules that run one after the other; "" is the encoder itself.
        endings: prefixes of the parameters behind the last block that are its norm's.
        embed: (encoder, images [B, 3, H, W]) -> what the first block is fed.
        read: (encoder, what the last block gives) -> features [B, width].
        first_token: whether features are read from the first token alone.
        in_sequence: whether these are blocks; False for an encoder of a kind that is not known here, taken as one.
    """

    blocks: tuple[str, ...]
    endings: tuple[str, ...]
    embed: Callable[[nn.Module, Tensor], Tensor]
    read: Callable[[nn.Module, Tensor], Tensor]
    first_token: bool = False
    in_sequence: bool = True


def chain_of(encoder: nn.Module) -> Chain:
    """How an encoder is gone through.

    A class derived from one of timm's is taken for what it is derived from where its forward pass is still that.
    """
    if isinstance(encoder, VisionTransformer):
        blocks = tuple(f"blocks.{number}" for number in range(len(encoder.blocks)))
        first = encoder.global_pool == "token" and type(encoder).forward_head is VisionTransformer.forward_head
        return Chain(blocks, ("norm.", "fc_norm."), _vit_tokens, _normed, first_token=first)
    if _goes_as(encoder, ConvNeXt):
        return Chain(tuple(_staged(encoder, "stages")), ("norm_pre.", "head.norm."), _stem, _behind_stages)
    if _goes_as(encoder, ResNet):
        layers = ((f"layer{number}", getattr(encoder, f"layer{number}")) for number in range(1, 5))
        blocks = tuple(f"{name}.{number}" for name, layer in layers for number in range(len(layer)))
        return Chain(blocks, (), _resnet_map, _head)
    if _goes_as(encoder, SwinTransformer):
        return Chain(tuple(_staged(encoder, "layers")), ("norm.",), _patches, _normed)
    return Chain(("",), (), _as_they_are, _as_they_are, in_sequence=False)


def _goes_as(encoder: nn.Module, kind: type[nn.Module]) -> bool:
    passes = ("forward", "forward_features", "forward_head")
    return isinstance(encoder, kind) and all(getattr(type(encoder), n) is getattr(kind, n) for n in passes)


def _staged(encoder: nn.Module, name: str) -> Iterator[str]:
    """Blocks of an encoder in stages, each of which may begin with a change of size: that is a block of its own."""
    for number, stage in enumerate(getattr(encoder, name)):
        if not isinstance(stage.downsample, nn.Identity):
            yield f"{name}.{number}.downsample"
        yield from (f"{name}.{number}.blocks.{place}" for place in range(len(stage.blocks)))


# Each of these is run on copies of the encoder that `chain_of` has looked at.


def _vit_tokens(encoder: nn.Module, images: Tensor) -> Tensor:
    assert isinstance(encoder, VisionTransformer)
    tokens = encoder.patch_embed(images)
    tokens = encoder._pos_embed(tokens)
    normed: Tensor = encoder.norm_pre(encoder.patch_drop(tokens))
    return normed


def _stem(encoder: nn.Module, images: Tensor) -> Tensor:
    assert isinstance(encoder, ConvNeXt)
    begun: Tensor = encoder.stem(images)
    return begun


def _behind_stages(encoder: nn.Module, values: Tensor) -> Tensor:
    assert isinstance(encoder, ConvNeXt)
    return encoder.forward_head(encoder.norm_pre(values))


def _resnet_map(encoder: nn.Module, images: Tensor) -> Tensor:
    assert isinstance(encoder, ResNet)
    begun: Tensor = encoder.maxpool(encoder.act1(encoder.bn1(encoder.conv1(images))))
    return begun


def _patches(encoder: nn.Module, images: Tensor) -> Tensor:
    assert isinstance(encoder, SwinTransformer)
    tokens: Tensor = encoder.patch_embed(images)
    return tokens


def _normed(encoder: nn.Module, values: Tensor) -> Tensor:
    assert isinstance(encoder, VisionTransformer | SwinTransformer)
    return encoder.forward_head(encoder.norm(values))


def _head(encoder: nn.Module, values: Tensor) -> Tensor:
    assert isinstance(encoder, ResNet)
    return encoder.forward_head(values)


def _as_they_are(encoder: nn.Module, values: Tensor) -> Tensor:
    return values
