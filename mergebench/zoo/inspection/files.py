"""What an inspection found, as CSV files and as one picture."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mergebench.weights.writing import writing
from mergebench.zoo.inspection.spectra import POINTS, Overlap, Spectrum
from mergebench.zoo.inspection.vectors import WHOLE, Vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_files(folder: Path, vectors: Vectors, spectra: Sequence[Spectrum], overlaps: Sequence[Overlap]) -> list[Path]:
    """Write `cosines.csv`, `depth.csv`, `matrices.csv`, `overlap.csv` and `inspect.png`; each appears whole.

    Args:
        folder: where; it is made.
        vectors, spectra, overlaps: what was found.

    Returns:
        The files.

    Raises:
        MergebenchError: the place cannot be written.
    """
    tables = {
        "cosines.csv": (("part", "one", "other", "cosine"), _cosines(vectors)),
        "depth.csv": (("part", "model", "norm", "of_base", "sign_conflicts"), _depth(vectors)),
        "matrices.csv": (
            ("matrix", "task", "norm", "effective_rank", "stable_rank", "for_90_percent"),
            _ranks(spectra),
        ),
        "overlap.csv": (("matrix", "one", "other", "overlap", "chance"), _overlaps(vectors, overlaps)),
    }
    for name, (header, rows) in tables.items():
        with writing(folder / name) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    with writing(folder / "inspect.png") as temporary, temporary.open("wb") as file:
        draw(vectors, spectra, overlaps).savefig(file, format="png", dpi=110)
    return [folder / name for name in (*tables, "inspect.png")]


def _number(value: float) -> str:
    """Empty where there is none."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _cosines(vectors: Vectors) -> Iterable[tuple]:
    for name, part in vectors.parts.items():
        cosines = part.cosines
        for i, one in enumerate(vectors.names):
            for j, other in enumerate(vectors.names[:i]):
                yield name, one, other, _number(cosines[i, j].item())


def _depth(vectors: Vectors) -> Iterable[tuple]:
    for name, part in vectors.parts.items():
        for model, norm in zip(vectors.names, part.norms.tolist(), strict=True):
            share = norm / part.base**0.5 if part.base else float("nan")
            yield name, model, _number(norm), _number(share), _number(part.conflict)


def _ranks(spectra: Iterable[Spectrum]) -> Iterable[tuple]:
    for found in spectra:
        yield found.matrix, found.task, *map(_number, (found.norm, found.effective, found.stable, found.ninety))


def _overlaps(vectors: Vectors, overlaps: Iterable[Overlap]) -> Iterable[tuple]:
    for found in overlaps:
        for i, one in enumerate(vectors.names[: vectors.tasks]):
            for j, other in enumerate(vectors.names[:i]):
                yield found.matrix, one, other, _number(found.shares[i, j].item()), _number(found.chance)


def draw(vectors: Vectors, spectra: Sequence[Spectrum], overlaps: Sequence[Overlap]) -> "Figure":
    """Six panels: angles and overlaps of tasks, and sizes, signs, ranks and spectra by depth (of the blocks)."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    (angles, sizes, signs), (shares, ranks, curves) = figure.subplots(2, 3)
    tasks, depth = vectors.names[: vectors.tasks], [name for name in vectors.parts if name != WHOLE]
    _heat(angles, vectors.parts[WHOLE].cosines, vectors.names, "cosine of task vectors")
    _heat(shares, sum(o.shares for o in overlaps) / len(overlaps), tasks, _overlap_title(overlaps, len(tasks)))
    for place, model in enumerate(vectors.names):
        line = {"color": "black", "linestyle": "--"} if place >= len(tasks) else {}
        part_sizes = [vectors.parts[p].norms[place].item() / max(vectors.parts[p].base, 1e-30) ** 0.5 for p in depth]
        sizes.plot(depth, part_sizes, marker=".", label=model, **line)
    sizes.set_title("size: norm of the change over the base's")
    sizes.set_ylim(bottom=0)
    sizes.legend(fontsize="x-small", ncols=2)
    signs.plot(depth, [100 * vectors.parts[p].conflict for p in depth], marker="o", color="tab:red")
    signs.set_title("sign conflicts: % of pairs (chance: 50)")
    signs.axhline(50, color="gray", linewidth=0.8)
    signs.set_ylim(0, 100)
    spectra = [s for s in spectra if s.block is not None]
    blocks = sorted({s.block for s in spectra})
    for task in tasks:
        means = [_mean([s.effective for s in spectra if s.task == task and s.block == b]) for b in blocks]
        ranks.plot(blocks, [100 * m for m in means], marker=".", label=task)
    ranks.set_title("effective rank by block: % of the full one")
    ranks.set_xlabel("block")
    ranks.set_xticks(blocks)
    ranks.set_ylim(bottom=0)
    shades = matplotlib.colormaps["viridis"]
    for place, block in enumerate(blocks):
        mean = torch.stack([s.curve for s in spectra if s.block == block]).nanmean(0)
        shade = shades(place / max(len(blocks) - 1, 1))
        curves.plot(torch.linspace(0, 100, POINTS).numpy(), mean.numpy(), color=shade, label=f"block {block}")
    curves.set_title("spectrum: mean of s_i over s_1")
    curves.set_xlabel("% of the directions")
    curves.set_ylim(0, 1)
    curves.legend(fontsize="x-small", ncols=2)
    for axes in (sizes, signs):
        axes.tick_params("x", rotation=60, labelsize="small")
    for axes in (sizes, signs, ranks, curves):
        axes.grid(alpha=0.3)
    return figure


def _overlap_title(overlaps: Sequence[Overlap], tasks: int) -> str:
    chance = sum(o.chance for o in overlaps) / len(overlaps)
    return f"overlap of 1/{tasks} of the directions (chance: {chance:.2f})"


def _heat(axes: "Axes", matrix: Tensor, names: Sequence[str], title: str) -> None:
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
    axes.set_title(title)


def _mean(values: Sequence[float]) -> float:
    there = [v for v in values if not math.isnan(v)]
    return sum(there) / len(there) if there else float("nan")
