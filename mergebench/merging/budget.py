"""What a merge holds in memory, by its method's card, and a budget that it is held to before any of the work."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from mergebench.merging.layout import Layout
from mergebench.merging.method import MethodCard, terms


@dataclass(frozen=True)
class Sizes:
    """Bytes of what a card counts in, as a merge computes in it.

    Args:
        models: all weights of one model.
        experts: the same as they are stored.
        tensors: its largest tensor.
    """

    models: int
    experts: int
    tensors: int

    @classmethod
    def of(cls, layout: Layout, expert: Mapping[str, Tensor]) -> "Sizes":
        """Of models with an encoder's layout, one of which is this: merges compute in float32, or finer if they are."""
        stored = expert[layout.floating[0]].dtype.itemsize
        itemsize = torch.promote_types(layout.precision, torch.float32).itemsize
        numbers = [math.prod(shape) for shape in layout.shapes.values()]
        return cls(itemsize * sum(numbers), stored * sum(numbers), itemsize * max(numbers))


class Budget:
    """Bytes of memory that the whole process is to stay within.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = psutil.Process().memory_info().rss

    def estimate(self, cards: Sequence[MethodCard], experts: int, sizes: Sizes) -> int:
        """Bytes that the process will take: what it has now, and what is `wanted`, whose arguments these are."""
        return self._taken + wanted(cards, experts, sizes)

    def lack(self, cards: Sequence[MethodCard], experts: int, sizes: Sizes) -> str:
        """Why a merge does not fit; empty if it does. The arguments are those of `wanted`."""
        whole = self.estimate(cards, experts, sizes)
        if whole <= self.limit:
            return ""
        holds = max(cards, key=lambda card: _held(card, experts, sizes)).holds or "the merged model"
        return (
            f"{cards[0].name} would take about {whole / 1e9:.1f} GB for {experts} experts ({holds}; a model is "
            f"{sizes.models / 1e9:.2f} GB, and {self._taken / 1e9:.1f} GB are taken), but --memory allows "
            f"{self.limit / 1e9:.1f} GB"
        )

    def left(self, cards: Sequence[MethodCard], experts: int, sizes: Sizes) -> int:
        """Bytes that are left for images, tokens and activations. The arguments are those of `wanted`."""
        return max(self.limit - self.estimate(cards, experts, sizes), 0)


def wanted(cards: Sequence[MethodCard], experts: int, sizes: Sizes) -> int:
    """Bytes that a merge takes: what the method holds, and the merged model once more, on its way to a file.

    Images, tokens and activations, of which a method takes as many as there is room for, are not in it.

    Args:
        cards: the method's, and that of the one it starts from; a card that does not say what it holds counts none.
        experts: how many are merged.
        sizes: of the models.
    """
    return sizes.models + sizes.experts + max((_held(card, experts, sizes) for card in cards), default=0)


def _held(card: MethodCard, experts: int, sizes: Sizes) -> int:
    units = vars(sizes) | {"GB": 10**9}
    return int(sum((term.each * experts + term.fixed) * units[term.unit] for term in terms(card.holds)))
