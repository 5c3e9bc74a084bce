"""What a merge method may know of the encoder: its blocks, their linear layers, and which parameters are what."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

import torch
from torch import Tensor, nn

from mergebench.errors import MergebenchError
from mergebench.merging.chains import chain_of
from mergebench.merging.views import ReadOnlyState
from mergebench.weights.encoders import check_is_encoder
from mergebench.weights.projection import Projection, has_projection
from mergebench.weights.rules import PROJECTION

BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Block:
    """One block of the encoder, or, where that has no blocks one after the other, all of it.

    Args:
        name: its module's, e.g. "blocks.3"; "" is the encoder itself.
        linears: full names of its linear layers, in the order of the modules. A convolution over all channels is one,
            on patches.
    """

    name: str
    linears: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What the names of its parameters begin with."""
        return f"{self.name}." if self.name else ""

    def inner(self, name: str) -> str:
        """A name of the encoder's as it is inside the block."""
        return name.removeprefix(self.prefix)


class Layout:
    """The structure of a timm encoder, without its values.

    Args:
        encoder: the model; only names, shapes and modules are read.

    Raises:
        MergebenchError: another kind of model, or one with a classifier still in it.
    """

    def __init__(self, encoder: nn.Module) -> None:
        check_is_encoder(encoder, "the base")
        found = encoder.get_classifier()  # type: ignore[operator]  # a method of timm's, which torch takes for a tensor
        if not all(isinstance(m, (nn.Identity, Projection)) for m in (found if isinstance(found, tuple) else (found,))):
            raise MergebenchError("the base still has a classifier; make it with num_classes=0: heads are never merged")
        self.shapes: dict[str, tuple[int, ...]] = {n: tuple(t.shape) for n, t in encoder.state_dict().items()}
        self.dtypes: dict[str, torch.dtype] = {n: t.dtype for n, t in encoder.state_dict().items()}
        self.projection = PROJECTION if has_projection(encoder) else None
        self.chain = chain_of(encoder)
        modules = dict(encoder.named_modules())
        self.blocks = tuple(Block(name, _linears(name, modules[name])) for name in self.chain.blocks)
        layers = {name: modules[name] for block in self.blocks for name in block.linears}
        self._multiplying = {f"{n}.weight" for n in layers}
        # timm packs query, key and value into one matrix; a spectrum is only meaningful for each of the three.
        # (Of encoders that are not known the rows may be sorted by heads first.)
        self.fused = {f"{n}.weight": 3 for n in layers if self.chain.in_sequence and n.endswith(".attn.qkv")}
        # Means and variances of a batch norm's inputs, and how many batches were counted: measured, and not trained.
        self.statistics = frozenset(
            f"{name}.{own}"
            for name, module in modules.items()
            if isinstance(module, BATCH_NORMS)
            for own, _ in module.named_buffers()
        )

    @property
    def in_sequence(self) -> bool:
        """Whether the blocks are known, and run one after the other; otherwise the encoder is taken as one block."""
        return self.chain.in_sequence

    @property
    def floating(self) -> tuple[str, ...]:
        """Names of all that can be merged: parameters and buffers but for integer ones and statistics."""
        return tuple(n for n, d in self.dtypes.items() if d.is_floating_point and n not in self.statistics)

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
        return tuple(n for n in self.shapes if n.startswith(self.chain.endings))

    @property
    def embedding(self) -> tuple[str, ...]:
        """Parameters in front of the first block."""
        later = (*(b.prefix for b in self.blocks), *self.chain.endings, PROJECTION)
        return tuple(n for n in self.shapes if not n.startswith(later))

    def parameters_of(self, block: Block) -> tuple[str, ...]:
        """Names of all tensors of a block."""
        return tuple(n for n in self.shapes if n.startswith(block.prefix) and n != self.projection)

    def depth_of(self, name: str) -> int | None:
        """The number of the block that a parameter is in; None if it is in none."""
        return next(
            (i for i, b in enumerate(self.blocks) if name.startswith(b.prefix) and name != self.projection), None
        )

    def is_matrix(self, name: str) -> bool:
        """Whether a parameter is a linear layer's weight, or has exactly two dimensions larger than one.

        So `pos_embed` [1, N, D] counts, and the kernels of blocks' convolutions [out, in, h, w]; patches' do not.
        """
        return sum(size > 1 for size in self._matrix_shape(name)) == 2 == len(self._matrix_shape(name))

    def _matrix_shape(self, name: str) -> tuple[int, ...]:
        shape = self.shapes[name]
        if name in self._multiplying:
            return shape[0], math.prod(shape[1:])
        return tuple(size for size in shape if size > 1)

    def matrix_shape(self, name: str) -> tuple[int, int, int]:
        """Of a matrix-shaped parameter: how many matrices it is (three for a fused qkv), their rows and columns."""
        rows, columns = self._matrix_shape(name)
        parts = self.fused.get(name, 1)
        return parts, rows // parts, columns

    def matrix(self, name: str, tensor: Tensor) -> Tensor:
        """A matrix-shaped parameter [*shape] as one matrix, a view: a kernel has a row for each channel it gives."""
        return tensor.flatten(1) if name in self._multiplying else tensor.squeeze()

    def matrices(self, name: str, tensor: Tensor) -> list[Tensor]:
        """A matrix-shaped parameter as its 2-D matrices: views, three of them for a fused qkv.

        Args:
            name: the parameter's name; `is_matrix(name)` holds.
            tensor: its value [*shape].
        """
        return list(self.matrix(name, tensor).chunk(self.fused.get(name, 1), dim=0))


def is_linear(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether a module multiplies rows of inputs by its weight.

    A linear layer does, and a convolution over all channels, padded with zeros if at all, on patches.
    """
    if type(module) is nn.Conv2d:  # what is derived from it does something else to its inputs or its weight first
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return isinstance(module, nn.Linear) and not isinstance(module, Projection)


def input_rows(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What a layer is fed as the rows [B, N, d] that its weight, as a matrix [out, d], multiplies.

    Args:
        layer: of which `is_linear` holds.
        inputs: [B, ..., d]; of a convolution [B, C, H, W], each patch of which is a row.
    """
    if isinstance(layer, nn.Conv2d):
        fold = {n: getattr(layer, n) for n in ("kernel_size", "dilation", "padding", "stride")}
        return nn.functional.unfold(inputs, **fold).transpose(1, 2)
    return inputs.reshape(len(inputs), -1, inputs.shape[-1])


def load_part(encoder: nn.Module, state: Mapping[str, Tensor], names: tuple[str, ...]) -> None:
    """Copy the named tensors of `state` into the encoder, in place; the others stay."""
    own = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    with torch.no_grad():
        for name in names:
            if isinstance(state, ReadOnlyState):  # which would hand out a copy to be copied
                state.read_into(name, own[name])
            else:
                own[name].copy_(state[name])


def _linears(block: str, module: nn.Module) -> tuple[str, ...]:
    names = [name for name, layer in module.named_modules() if is_linear(layer)]
    if not block:  # the layer that is fed pixels is an embedding, as everywhere
        first = next((name for name, m in module.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))), None)
        return tuple(name for name in names if name != first)
    return tuple(f"{block}.{name}" if name else block for name in names)
