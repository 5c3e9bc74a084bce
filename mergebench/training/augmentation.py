"""What is done to training images: a function of the images and of a few random numbers for each."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Augmentation:
    """A random change of images.

    Args:
        numbers: how many random numbers it takes per image.
        apply: images [B, C, H, W] in [0, 1], numbers [numbers, B] in [-1, 1) -> images of the same shape and range.
    """

    numbers: int
    apply: Callable[[Tensor, Tensor], Tensor]

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """The random numbers of a batch [numbers, B]: drawn for all of it, so that its parts can be changed apart."""
        return torch.rand(self.numbers, batch, generator=generator) * 2 - 1


def shift(images: Tensor, moves: Tensor) -> Tensor:
    """Every image moved by up to a sixteenth of its side either way, edges repeated: [B, C, H, W] -> the same."""
    batch, _, height, width = images.shape
    rows, columns = (
        (torch.arange(side) + (move[:, None] * side / 16).round().long()).clamp(0, side - 1)
        for move, side in zip(moves, (height, width), strict=True)
    )
    return images.permute(0, 2, 3, 1)[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )


def affine(images: Tensor, numbers: Tensor) -> Tensor:
    """Every image turned by up to 10 degrees, scaled by up to 10 % and moved by up to a sixteenth of its side."""
    turn, grow, *moves = numbers
    angle, scale = turn * math.radians(10), 1 + 0.1 * grow
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos, -sin, moves[0] / 8, sin, cos, moves[1] / 8], dim=1).view(-1, 2, 3)
    grid = nn.functional.affine_grid(rows, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


AUGMENTATIONS = {
    "none": Augmentation(0, lambda images, numbers: images),
    "shift": Augmentation(2, shift),
    "affine": Augmentation(4, affine),
}
