"""The pictures of an inspection one by one: what each draws, and in words what is seen on it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mergebench.zoo.inspection.spectra import POINTS, Overlap, Spectrum
from mergebench.zoo.inspection.vectors import WHOLE, Vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Panel:
    """One picture.

    Args:
        name: what its files are called.
        title: above it.
        caption: how it is read.
        alt: what is seen on it, for those who do not see it.
        plot: draws it.
        size: width and height in inches where it stands alone.
    """

    name: str
    title: str
    caption: str
    alt: str
    plot: Callable[["Axes"], None]
    size: tuple[float, float] = (6.4, 4.4)


def panels(vectors: Vectors, spectra: Sequence[Spectrum], overlaps: Sequence[Overlap]) -> list[Panel]:
    """Angles, sizes and signs; overlaps, ranks and spectra, in this order."""
    blocks = [s for s in spectra if s.block is not None]
    return [
        _angles(vectors),
        _sizes(vectors),
        _signs(vectors),
        _shares(vectors, overlaps),
        _ranks(vectors, blocks),
        _curves(blocks),
    ]


def _angles(vectors: Vectors) -> Panel:
    cosines = vectors.parts[WHOLE].cosines
    return Panel(
        "angles",
        "cosine of task vectors",
        "Cosine of each two changes from the base, over the whole encoder. At 0 they are at right angles; above it "
        "they move alike, below it against each other (red and blue, where there is any below).",
        f"A square of {len(vectors.names)} by {len(vectors.names)} cosines, {_extremes(cosines, vectors.names)}.",
        lambda axes: _heat(axes, cosines, vectors.names),
        _square(len(vectors.names)),
    )


def _shares(vectors: Vectors, overlaps: Sequence[Overlap]) -> Panel:
    none, tasks = torch.zeros_like(overlaps[0].shares), vectors.names[: vectors.tasks]
    shares = sum((o.shares for o in overlaps), start=none) / len(overlaps)
    chance = sum(o.chance for o in overlaps) / len(overlaps)
    return Panel(
        "overlap",
        f"overlap of 1/{len(tasks)} of the directions (chance: {chance:.2f})",
        f"How much of two tasks' first 1/{len(tasks)} singular directions is the same space, 0 to 1, averaged over the "
        f"matrices of the blocks; random directions have {chance:.2f}.",
        f"A square of {len(tasks)} by {len(tasks)} shares, {_extremes(shares, tasks)}.",
        lambda axes: _heat(axes, shares, tasks),
        _square(len(tasks)),
    )


def _sizes(vectors: Vectors) -> Panel:
    depth = _depth(vectors)
    sizes = {
        model: [vectors.parts[p].norms[place].item() / max(vectors.parts[p].base, 1e-30) ** 0.5 for p in depth]
        for place, model in enumerate(vectors.names)
    }

    def plot(axes: "Axes") -> None:
        import matplotlib

        for place, (model, values) in enumerate(sizes.items()):
            ink = {"color": matplotlib.rcParams["text.color"], "linestyle": "--"} if place >= vectors.tasks else {}
            axes.plot(depth, values, marker=".", label=model, **ink)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="x-small", ncols=2)
        axes.tick_params("x", rotation=60, labelsize="small")
        axes.grid(alpha=0.3)

    most = max(sizes, key=lambda model: max(sizes[model]))
    where = depth[sizes[most].index(max(sizes[most]))]
    merged = "; dashed: the merged model" * (len(vectors.names) > vectors.tasks)
    return Panel(
        "sizes",
        "size: norm of the change over the base's",
        f"How far each task moved each part of the encoder, over the length of the base's weights there{merged}.",
        f"A line for each of {len(sizes)} models over {len(depth)} parts; the largest change is that of {most} in "
        f"{where}, {max(sizes[most]):.3g} of the base's norm.",
        plot,
    )


def _signs(vectors: Vectors) -> Panel:
    depth = _depth(vectors)
    conflicts = [100 * vectors.parts[p].conflict for p in depth]

    def plot(axes: "Axes") -> None:
        axes.plot(depth, conflicts, marker="o", color="tab:red")
        axes.axhline(50, color="gray", linewidth=0.8)
        axes.set_ylim(0, 100)
        axes.tick_params("x", rotation=60, labelsize="small")
        axes.grid(alpha=0.3)

    there = [value for value in conflicts if not math.isnan(value)]
    seen = (
        f"between {min(there):.1f} and {max(there):.1f} %" if there else "without a value: no two tasks moved an entry"
    )
    return Panel(
        "signs",
        "sign conflicts: % of pairs (chance: 50)",
        "Of two tasks that both moved an entry, how often in opposite directions; the grey line is chance.",
        f"One line over {len(depth)} parts of the encoder, {seen}.",
        plot,
    )


def _ranks(vectors: Vectors, spectra: Sequence[Spectrum]) -> Panel:
    blocks, tasks = _blocks(spectra), vectors.names[: vectors.tasks]
    means = {
        task: [100 * _mean([s.effective for s in spectra if s.task == task and s.block == b]) for b in blocks]
        for task in tasks
    }

    def plot(axes: "Axes") -> None:
        for task, values in means.items():
            axes.plot(blocks, values, marker=".", label=task)
        axes.set_xlabel("block")
        axes.set_xticks(blocks)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)

    there = [value for values in means.values() for value in values if not math.isnan(value)]
    seen = f"between {min(there):.0f} and {max(there):.0f} %" if there else "without a value"
    return Panel(
        "ranks",
        "effective rank by block: % of the full one",
        "Over how many directions a task's change is spread: the exponential of the entropy of its squared singular "
        "values, as a share of the full rank, averaged over a block's matrices. Colours are those of the sizes.",
        f"A line for each of {len(tasks)} tasks over {len(blocks)} blocks, {seen}.",
        plot,
    )


def _curves(spectra: Sequence[Spectrum]) -> Panel:
    blocks = _blocks(spectra)
    curves = {b: torch.stack([s.curve for s in spectra if s.block == b]).nanmean(0) for b in blocks}

    def plot(axes: "Axes") -> None:
        import matplotlib

        shades = matplotlib.colormaps["viridis"]
        for place, (block, mean) in enumerate(curves.items()):
            shade = shades(place / max(len(blocks) - 1, 1))
            axes.plot(torch.linspace(0, 100, POINTS).numpy(), mean.numpy(), color=shade, label=f"block {block}")
        axes.set_xlabel("% of the directions")
        axes.set_ylim(0, 1)
        axes.legend(fontsize="x-small", ncols=2)
        axes.grid(alpha=0.3)

    halves = [mean[POINTS // 2].item() for mean in curves.values()]
    there = [value for value in halves if not math.isnan(value)]
    seen = f"half of the way down at {min(there):.2f} to {max(there):.2f}" if there else "without a value"
    return Panel(
        "spectra",
        "spectrum: mean of s_i over s_1",
        "How singular values of the changes fall off, the first as 1, averaged over tasks and a block's matrices: what "
        "falls at once is of low rank.",
        f"A falling curve for each of {len(blocks)} blocks, {seen}.",
        plot,
    )


def _depth(vectors: Vectors) -> list[str]:
    return [name for name in vectors.parts if name != WHOLE]


def _square(count: int) -> tuple[float, float]:
    """Room for a square of numbers and its labels."""
    side = 2.6 + 0.36 * count
    return max(side, 4.4), max(side, 4.4)


def _extremes(matrix: Tensor, names: Sequence[str]) -> str:
    """The least and the greatest of what two have in common, and which two."""
    pairs = [(matrix[i, j].item(), names[j], names[i]) for i in range(len(names)) for j in range(i)]
    there = [pair for pair in pairs if not math.isnan(pair[0])]
    if not there:
        return "none of which has a value"
    low, high = min(there), max(there)
    return f"from {low[0]:.2f} ({low[1]} and {low[2]}) to {high[0]:.2f} ({high[1]} and {high[2]})"


def _heat(axes: "Axes", matrix: Tensor, names: Sequence[str]) -> None:
    """A square of numbers, its diagonal left out."""
    shown = matrix.clone().fill_diagonal_(torch.nan)
    real = shown[~shown.isnan()]
    most = real.abs().max().item() if real.numel() else 1.0
    least, shades = (-most, "RdBu_r") if bool((real < 0).any()) else (0, "Blues")
    axes.imshow(shown.numpy(), cmap=shades, vmin=least, vmax=most)
    for i, j in torch.nonzero(~shown.isnan()).tolist():
        dark = shown[i, j].abs().item() > 0.6 * most
        text = f"{shown[i, j]:.2f}"
        axes.text(j, i, text, ha="center", va="center", fontsize="x-small", color="white" if dark else "black")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize="small")
    axes.set_yticks(range(len(names)), names, fontsize="small")


def _blocks(spectra: Sequence[Spectrum]) -> list[int]:
    return sorted({s.block for s in spectra if s.block is not None})


def _mean(values: Sequence[float]) -> float:
    there = [v for v in values if not math.isnan(v)]
    return sum(there) / len(there) if there else float("nan")
