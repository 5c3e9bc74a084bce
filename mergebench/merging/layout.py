"""What a merge method may know of the encoder: its blocks, their linear layers, and which parameters are what."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.errors import MergebenchError
from mergebench.merging.views import ReadOnlyState
from mergebench.weights.projection import has_projection
from mergebench.weights.rules import PROJECTION


@dataclass(frozen=True)
class Block:
    """One transformer block.

    Args:
        name: its prefix in the state dict, e.g. "blocks.3".
        linears: full names of its linear layers, in the order of the forward pass.
    """

    name: str
    linears: tuple[str, ...]


class Layout:
    """The structure of a timm VisionTransformer, without its values.

    Args:
        encoder: the model; only names, shapes and modules are read.

    Raises:
        MergebenchError: another kind of model, or one with a classifier still in it.
    """

    def __init__(self, encoder: nn.Module) -> None:
        if not isinstance(encoder, VisionTransformer):
            raise MergebenchError(
                f"the base is a {type(encoder).__name__}; merging needs a timm VisionTransformer "
                "(timm.create_model(..., num_classes=0))"
            )
        if not (isinstance(encoder.head, nn.Identity) or has_projection(encoder)):
            raise MergebenchError("the base still has a classifier; make it with num_classes=0: heads are never merged")
        self.shapes = {n: tuple(t.shape) for n, t in encoder.state_dict().items()}
        self.dtypes = {n: t.dtype for n, t in encoder.state_dict().items()}
        self.projection = PROJECTION if has_projection(encoder) else None
        self.blocks = tuple(
            Block(f"blocks.{i}", tuple(f"blocks.{i}.{n}" for n, m in block.named_modules() if isinstance(m, nn.Linear)))
            for i, block in enumerate(encoder.blocks)
        )
        # timm packs query, key and value into one matrix; a spectrum is only meaningful for each of the three.
        self.fused = {f"{n}.weight": 3 for b in self.blocks for n in b.linears if n.endswith(".attn.qkv")}

    @property
    def floating(self) -> tuple[str, ...]:
        """Names of all that can be merged: parameters and buffers but for integer ones."""
        return tuple(n for n, d in self.dtypes.items() if d.is_floating_point)

    @property
    def precision(self) -> torch.dtype:
        """The dtype of the first floating-point parameter."""
        return next(d for d in self.dtypes.values() if d.is_floating_point)

    @property
    def linear_weights(self) -> tuple[str, ...]:
        """Weights of all linear layers in the blocks and of the projection, in the order of the forward pass."""
        behind = (self.projection,) if self.projection else ()
        return (*(f"{n}.weight" for b in self.blocks for n in b.linears), *behind)

    @property
    def final_norm(self) -> tuple[str, ...]:
        """Parameters of the norm after the last block (before or after pooling, as the model has it)."""
        return tuple(n for n in self.shapes if n.startswith(("norm.", "fc_norm.")))

    @property
    def embedding(self) -> tuple[str, ...]:
        """Parameters in front of the first block."""
        later = (*(b.name + "." for b in self.blocks), *self.final_norm, PROJECTION)
        return tuple(n for n in self.shapes if not n.startswith(later))

    def is_matrix(self, name: str) -> bool:
        """Whether a parameter has exactly two dimensions larger than one (so `pos_embed` [1, N, D] counts)."""
        return sum(d > 1 for d in self.shapes[name]) == 2

    def matrices(self, name: str, tensor: Tensor) -> list[Tensor]:
        """A matrix-shaped parameter as its 2-D matrices: views, three of them for a fused qkv.

        Args:
            name: the parameter's name; `is_matrix(name)` holds.
            tensor: its value [*shape].
        """
        return list(tensor.squeeze().chunk(self.fused.get(name, 1), dim=0))


def embed_images(encoder: VisionTransformer, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] -> tokens [B, N, D] as the first block receives them."""
    tokens = encoder.patch_embed(images)
    tokens = encoder._pos_embed(tokens)
    return encoder.norm_pre(encoder.patch_drop(tokens))


def load_part(encoder: nn.Module, state: Mapping[str, Tensor], names: tuple[str, ...]) -> None:
    """Copy the named tensors of `state` into the encoder, in place; the others stay."""
    own = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    with torch.no_grad():
        for name in names:
            if isinstance(state, ReadOnlyState):  # which would hand out a copy to be copied
                state.read_into(name, own[name])
            else:
                own[name].copy_(state[name])
