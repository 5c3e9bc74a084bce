"""What a vision transformer as timm makes them is made of, as far as configurations tell of it.

torch takes whatever a module has for a tensor or a module. These are asked of encoders whose weights have the names of
such a transformer's, of timm's own class or not.
"""

from collections.abc import Sequence
from typing import Protocol, cast

from torch import nn


class Attention(Protocol):
    """Of a block."""

    num_heads: int


class Perceptron(Protocol):
    """Of a block."""

    act: nn.Module
    fc1: nn.Linear


class TransformerBlock(Protocol):
    """Attention and perceptron."""

    attn: Attention
    mlp: Perceptron


class Patches(Protocol):
    """What makes tokens of images."""

    patch_size: tuple[int, int]


class Transformer(Protocol):
    """The whole."""

    embed_dim: int
    patch_embed: Patches
    blocks: Sequence[TransformerBlock]
    norm: nn.LayerNorm


def as_transformer(encoder: nn.Module) -> Transformer:
    """The encoder itself; what it lacks is seen when it is asked for."""
    return cast(Transformer, encoder)
