"""Low-rank adaptation: linear layers of the blocks learn a difference of low rank, all else stays the base's.

    W = W_0 + B A,   A [r, in] random, B [out, r] zero at first      (alpha = r, so that alpha / r = 1)

A fused qkv has an A and a B for each of its three matrices, as if they were three layers. Source: Hu et al., "LoRA:
low-rank adaptation of large language models", arXiv:2106.09685.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from mergebench.errors import MergebenchError
from mergebench.merging.layout import Layout
from mergebench.seeds import generator


class LowRank(nn.Module):
    """A frozen linear layer and the difference that is learnt.

    Args:
        linear: the base's layer.
        rank: of the difference; of each part's, if there are several.
        parts: how many matrices are packed into the layer, one below the other.
        generator: draws A.
    """

    def __init__(self, linear: nn.Linear, rank: int, parts: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        bound = linear.in_features**-0.5
        down = torch.rand(parts, rank, linear.in_features, generator=generator) * 2 * bound - bound
        up = torch.zeros(parts, linear.out_features // parts, rank)
        self.down, self.up = nn.Parameter(down.to(linear.weight)), nn.Parameter(up.to(linear.weight))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [..., in] -> outputs [..., out]."""
        low = torch.einsum("...i,pri->...pr", inputs, self.down)
        outputs: Tensor = self.linear(inputs)
        return outputs + torch.einsum("...pr,por->...po", low, self.up).flatten(-2)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the difference in its weight."""
        self.linear.weight += (self.up @ self.down).flatten(0, 1)
        return self.linear


def adapt(encoder: nn.Module, rank: int, seed: int, layers: Collection[str] = ()) -> None:
    """Puts a `LowRank` in the place of linear layers in the blocks; nothing else is left to be trained.

    Args:
        encoder: changed in place.
        rank: of the differences.
        seed: of every A.
        layers: names, or ends of them behind a dot (`attn.qkv`), of the layers that are adapted; none: all.

    Raises:
        MergebenchError: no encoder, one without linear layers in its blocks (convolutions are not adapted), no layer of
            such a name, or one with no more rows or columns than that.
    """
    check_rank(encoder, rank, layers)
    drawing = generator(seed)
    encoder.requires_grad_(False)
    for name, linear, parts in _linears(encoder, layers):
        _replace(encoder, name, LowRank(linear, rank, parts, drawing))


def check_rank(encoder: nn.Module, rank: int, layers: Collection[str] = ()) -> None:
    """Refuses, as `adapt` does, what cannot be adapted; nothing is changed."""
    for name, linear, parts in _linears(encoder, layers):
        side = min(linear.in_features, linear.out_features // parts)
        if rank >= side:
            raise MergebenchError(f"lora={rank}, but {name!r} has rank {side} itself; ask for less")


def _linears(encoder: nn.Module, layers: Collection[str]) -> list[tuple[str, nn.Linear, int]]:
    """The linear layers of the blocks that are meant: name, layer, and how many matrices are packed into it."""
    layout = Layout(encoder)
    modules = {name: encoder.get_submodule(name) for block in layout.blocks for name in block.linears}
    linears = {name: module for name, module in modules.items() if isinstance(module, nn.Linear)}
    if not linears:
        raise MergebenchError(f"lora: a {type(encoder).__name__} has no linear layers to be adapted; leave it out")
    stranger = next((end for end in layers if not any(_ends(name, end) for name in linears)), None)
    if stranger is not None:
        raise MergebenchError(
            f"lora_layers: no linear layer of the blocks is called {stranger!r} or ends so; there are "
            f"{', '.join(dict.fromkeys(name.split('.', 2)[-1] for name in linears))}"
        )
    names = [name for name in linears if not layers or any(_ends(name, end) for end in layers)]
    return [(name, linears[name], layout.fused.get(f"{name}.weight", 1)) for name in names]


def _ends(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")


def learnt(encoder: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors of an adapted encoder's layers: name -> B [parts, out, r] and A [parts, r, in], float32, copies."""
    return {
        name: (_copy(module.up), _copy(module.down))
        for name, module in encoder.named_modules()
        if isinstance(module, LowRank)
    }


def _copy(factor: Tensor) -> Tensor:
    return factor.detach().float().cpu().clone()


def merge_adapters(encoder: nn.Module) -> None:
    """Undoes `adapt`: every layer is a linear one again, and holds what was learnt."""
    for name, module in list(encoder.named_modules()):
        if isinstance(module, LowRank):
            _replace(encoder, name, module.merged())


def _replace(encoder: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(encoder.get_submodule(parent), own, module)
