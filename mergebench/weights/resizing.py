"""Checkpoints for images of another size than theirs: position embeddings are interpolated when they are read."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.errors import CheckpointError, MergebenchError, tell
from mergebench.weights.encoders import SIZE, Encoder
from mergebench.weights.passes import outputs_of
from mergebench.weights.states import FLOATING, LazyState, shape_of

POSITIONS = "pos_embed"
PATCHES = "patch_embed.proj.weight"
WIDEST = 256  # patches on a side of images of another size than an encoder's own
LARGEST = 4096  # pixels on a side of what goes through convolutions


class Grid(NamedTuple):
    """What an encoder's position embeddings are of.

    Args:
        side: how many patches a side of its images has.
        prefix: how many embeddings stand before those of patches.
        patch: height and width in pixels of what a patch is of.
    """

    side: int
    prefix: int
    patch: int

    @classmethod
    def of(cls, made: VisionTransformer) -> "Grid":
        """Of an encoder of timm's."""
        prefix = 0 if made.no_embed_class else made.num_prefix_tokens
        return cls(made.patch_embed.grid_size[0], prefix, made.patch_embed.feat_ratio())


def encoder_at(encoder: Encoder, image_size: int | None) -> Encoder:
    """The same encoder for images of another size in pixels; itself where that is its own, or None.

    Raises:
        MergebenchError: it is of one size alone, or of patches that do not divide that one.
    """
    if image_size is None or image_size == encoder.image_size:
        return encoder
    who = f"--image-size {image_size}: encoder {encoder.name!r}"
    if ":" in encoder.name:
        raise MergebenchError(
            f"{who} is a function's, for images of {encoder.image_size} pixels alone; leave it out (--image-size, or "
            "image_size: in a zoo's file)"
        )
    made = encoder.make()
    if not isinstance(made, VisionTransformer):
        if not hasattr(made, "patch_embed") and image_size <= LARGEST:
            other = replace(encoder, options={**encoder.options, SIZE: int(image_size)})
            if _takes(other, made):
                return other
        raise MergebenchError(
            f"{who} is a {type(made).__name__}; to other sizes only vision transformers are taken, and convolutions "
            f"that such images go through, of {LARGEST} pixels at most"
        )
    patch = Grid.of(made).patch
    if image_size > WIDEST * patch:
        raise MergebenchError(f"{who} has patches of {patch} pixels, and images of at most {WIDEST * patch} are taken")
    if image_size < 1 or image_size % patch:
        least = max(image_size // patch, 0) * patch
        near = [size for size in (least, least + patch) if size > 0]
        raise MergebenchError(
            f"{who} has patches of {patch} pixels, which do not divide that; give {' or '.join(map(str, near))}"
        )
    # A size from the command line is of a type of its own.
    return replace(encoder, options={**encoder.options, SIZE: int(image_size)})


def _takes(encoder: Encoder, made: nn.Module) -> bool:
    """Whether images of an encoder's size go through it, with the weights of the one that was made before."""
    try:
        other = encoder.make()
        outputs_of(other, (encoder.image_size, encoder.image_size))
    except Exception:  # whatever an encoder says to images that are too small for it
        return False
    return [t.shape for t in other.state_dict().values()] == [t.shape for t in made.state_dict().values()]


class ResizedState(LazyState):
    """A checkpoint for images of another size, timm's names: bicubic with antialiasing, as timm's own loading has it.

    Class and register tokens keep their position embeddings, and all else is as in the file.

    Args:
        source: the weights as they are read.
        before: patches on a side of the images that they are of.
        grid: what they are taken to.
    """

    def __init__(self, source: Mapping[str, Tensor], before: int, grid: Grid) -> None:
        super().__init__(source, getattr(source, "path", None), getattr(source, "metadata", {}))
        self.source, self.before, self._grid = source, before, grid

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.source[name]
        # What is no plain tensor of numbers is refused as such, once it is looked at.
        if name != POSITIONS or tensor.layout != torch.strided or tensor.dtype not in FLOATING or tensor.is_meta:
            return tensor
        side, prefix, _ = self._grid
        before = [self.before, self.before]
        taken: Tensor = resample_abs_pos_embed(tensor, [side, side], before, num_prefix_tokens=prefix)
        return taken

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        shape = shape_of(self.source, name)
        side, prefix, _ = self._grid
        return (shape[0], side**2 + prefix, *shape[2:]) if name == POSITIONS else shape

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the file is of."""
        return self.before * self._grid.patch


def for_encoder(state: Mapping[str, Tensor], encoder: Encoder, who: str) -> Mapping[str, Tensor]:
    """A base's weights for an encoder of another image size than theirs, which is told; themselves, if it is theirs.

    Args:
        state: timm's names; nothing is read.
        encoder: what they are to be loaded into.
        who: what they are, for messages.

    Raises:
        CheckpointError: position embeddings of anything but a square of patches.
    """
    made = encoder.make()
    if ":" in encoder.name or POSITIONS not in state or not isinstance(made, VisionTransformer):
        return state
    if made.pos_embed is None:
        return state
    if not _alike(shape_of(state, POSITIONS), tuple(made.pos_embed.shape)):
        return state
    grid = Grid.of(made)
    before = _side(state, grid)
    if before is None:
        raise CheckpointError(
            f"{who}: {POSITIONS!r} is {shape_of(state, POSITIONS)}, which is no square of patches behind {grid.prefix} "
            "tokens, and only such are interpolated; leave --image-size out (in a zoo's file image_size:)"
        )
    if before == grid.side:
        return state
    tell(
        f"{who}: its position embeddings are interpolated from {before} x {before} patches (images of "
        f"{before * grid.patch} pixels) to {grid.side} x {grid.side} ({encoder.image_size}), and so are those of all "
        "checkpoints of that size"
    )
    return ResizedState(state, before, grid)


def like_base(
    state: Mapping[str, Tensor], base: Mapping[str, Tensor], encoder: Encoder, who: str
) -> Mapping[str, Tensor]:
    """A checkpoint for images of the base's size: interpolated where the base is, and was of the same size.

    Args:
        state: timm's names; nothing is read.
        base: of `for_encoder`.
        encoder: what both are loaded into.
        who: what it is, for messages.

    Raises:
        CheckpointError: it is of images of another size than the base's.
    """
    if ":" in encoder.name or any(name not in held for name in (POSITIONS, PATCHES) for held in (state, base)):
        return state
    own, theirs = shape_of(state, POSITIONS), shape_of(base, POSITIONS)
    if own == theirs or not _alike(own, theirs) or shape_of(state, PATCHES) != shape_of(base, PATCHES):
        return state  # as it should be, or of another kind, which is told where all tensors are looked at
    made = encoder.make()
    if not isinstance(made, VisionTransformer):
        return state
    grid = Grid.of(made)
    side = _side(state, grid)
    if side is None:
        return state
    if isinstance(base, ResizedState) and side == base.before:
        return ResizedState(state, side, grid)
    because = f"{POSITIONS!r} is {own}, but {theirs} in the base: "
    raise other_size(who, side * grid.patch, base, encoder, because)


def other_size(who: str, size: int, base: Mapping[str, Tensor], encoder: Encoder, because: str = "") -> CheckpointError:
    """The refusal of a checkpoint of images of so many pixels, which the base is not of."""
    held = f"the base of {_size(base, encoder)}"
    taken = f", taken to {encoder.image_size}" * isinstance(base, ResizedState)
    return CheckpointError(f"{who}: {because}it is of images of {size} pixels, {held}{taken}; {remedy(size)}")


def remedy(size: int) -> str:
    """How to take what is of another image size to this one."""
    return f"give --image-size {size} (in a zoo's file image_size: {size}), to which the base is interpolated"


def as_read(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A checkpoint as it is read from its file, of its own image size."""
    return state.source if isinstance(state, ResizedState) else state


def sizes(base: Mapping[str, Tensor], encoder: Encoder) -> set[int]:
    """Of how many pixels' images checkpoints may be that go with a base: the encoder's, and its file's."""
    return {encoder.image_size} | ({base.image_size} if isinstance(base, ResizedState) else set())


def noted(
    base: Mapping[str, Tensor], encoder: Encoder, experts: Mapping[str, Mapping[str, Tensor]] | None = None
) -> dict[str, Any]:
    """What a header says of interpolation: image sizes in pixels, of what is written and of the files that it is from.

    Args:
        base: the base's weights.
        encoder: what they are loaded into.
        experts: name -> weights.
    """
    if not any(isinstance(state, ResizedState) for state in (base, *(experts or {}).values())):
        return {}
    files = {name: _size(state, encoder) for name, state in (experts or {}).items()}
    found = {"image_size": encoder.image_size, "base": _size(base, encoder)}
    return {"interpolated": found | ({"experts": files} if files else {})}


def _size(state: Mapping[str, Tensor], encoder: Encoder) -> int:
    return state.image_size if isinstance(state, ResizedState) else encoder.image_size


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes of position embeddings differ in the number of tokens at most."""
    return len(one) == len(other) == 3 and (one[0], one[2]) == (other[0], other[2]) and one[0] == 1


def _side(state: Mapping[str, Tensor], grid: Grid) -> int | None:
    """Patches on a side of the images that a checkpoint is of; None if they are no square."""
    count = shape_of(state, POSITIONS)[1] - grid.prefix
    side = math.isqrt(max(count, 0))
    return side if side > 0 and side**2 == count else None
