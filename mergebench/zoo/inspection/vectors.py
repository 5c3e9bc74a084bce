"""Angles, sizes and signs of task vectors, part by part of the encoder, from one pass over their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mergebench.merging.layout import Layout

WHOLE = "all"


@dataclass
class Part:
    """What is summed up over the tensors of one part of an encoder.

    Args:
        products: <tau_i, tau_j> [K, K], float64.
        base: squared norm of the base's.
        entries: how many entries there are.
        shared: how many pairs of tasks moved the same entry.
        opposed: how many of these in opposite directions.
    """

    products: Tensor
    base: float = 0.0
    entries: int = 0
    shared: int = 0
    opposed: int = 0

    @property
    def norms(self) -> Tensor:
        """||tau_k|| [K]."""
        return self.products.diagonal().clamp(min=0).sqrt()

    @property
    def cosines(self) -> Tensor:
        """cos(tau_i, tau_j) [K, K]; NaN where one of the two did not move."""
        norms = self.norms
        return self.products / torch.where(norms > 0, norms, torch.nan).outer(torch.where(norms > 0, norms, torch.nan))

    @property
    def conflict(self) -> float:
        """The share of pairs of tasks that moved an entry in opposite directions, of those that both moved it.

        By chance it is a half; NaN where no two tasks moved the same entry.
        """
        return self.opposed / self.shared if self.shared else float("nan")


@dataclass
class Vectors:
    """All of what `look_at_vectors` finds.

    Args:
        names: whose vectors, in the order of rows and columns; a merged model's last.
        tasks: how many of them are tasks.
        parts: a part's name, from the front of the encoder to its end, and `all` -> what it came to.
    """

    names: list[str]
    tasks: int
    parts: dict[str, Part] = field(default_factory=dict)


def part_of(layout: Layout, name: str) -> str:
    """Which part of an encoder a parameter belongs to: "embedding", a block as "block 3", "norm", or "projection"."""
    if name == layout.projection:
        return "projection"
    if name in layout.final_norm:
        return "norm"
    place = layout.depth_of(name)
    return "embedding" if place is None else f"block {place}"


def parts_in_order(layout: Layout) -> list[str]:
    """The names of all parts, from the front of the encoder to its end, and then `all`."""
    blocks = [f"block {i}" for i in range(len(layout.blocks))]
    names = [
        *["embedding"] * bool(layout.embedding),
        *blocks,
        *["norm"] * bool(layout.final_norm),
        *["projection"] * bool(layout.projection),
    ]
    return [*names, WHOLE]


def look_at_vectors(
    layout: Layout,
    base: Mapping[str, Tensor],
    experts: Mapping[str, Mapping[str, Tensor]],
    merged: Mapping[str, Tensor] | None = None,
) -> Vectors:
    """Sum up task vectors, tensor by tensor.

    Args:
        layout: of the encoder.
        base: the pre-trained weights.
        experts: task -> weights.
        merged: a merged model, which is held to the tasks, and counts in no conflict.
    """
    models = [*experts.values(), *([merged] if merged is not None else [])]
    names = [*experts, *(["merged"] if merged is not None else [])]
    found = Vectors(
        names, len(experts), {p: Part(torch.zeros(len(models), len(models)).double()) for p in parts_in_order(layout)}
    )
    for name in layout.floating:
        start = base[name].float()
        stack = torch.stack([model[name].float() - start for model in models]).flatten(1)
        wide = stack.double()
        products = wide @ wide.T
        shared, opposed = conflicts(stack[: len(experts)])
        for part in (found.parts[part_of(layout, name)], found.parts[WHOLE]):
            part.products += products
            part.base += start.double().square().sum().item()
            part.entries += start.numel()
            part.shared += shared
            part.opposed += opposed
    return found


def conflicts(vectors: Tensor) -> tuple[int, int]:
    """Of task vectors [T, n], how many pairs moved the same entry, and how many of these in opposite directions."""
    up, down = (vectors > 0).sum(0), (vectors < 0).sum(0)
    moved = up + down
    return int((moved * (moved - 1) // 2).sum()), int((up * down).sum())


def mean_off_diagonal(matrix: Tensor, count: int) -> Tensor:
    """Of the first so many rows and columns, each row's mean without its own column [count]; NaN for one alone."""
    square = matrix[:count, :count].clone()
    square.fill_diagonal_(0)
    return square.sum(1) / (count - 1) if count > 1 else torch.full((count,), torch.nan)
