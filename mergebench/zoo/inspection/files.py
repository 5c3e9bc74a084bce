"""What an inspection found, as CSV files and as one picture."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.weights.writing import writing
from mergebench.zoo.inspection.panels import panels
from mergebench.zoo.inspection.spectra import Overlap, Spectrum
from mergebench.zoo.inspection.vectors import Vectors

if TYPE_CHECKING:
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


def _cosines(vectors: Vectors) -> Iterable[tuple[str, ...]]:
    for name, part in vectors.parts.items():
        cosines = part.cosines
        for i, one in enumerate(vectors.names):
            for j, other in enumerate(vectors.names[:i]):
                yield name, one, other, _number(cosines[i, j].item())


def _depth(vectors: Vectors) -> Iterable[tuple[str, ...]]:
    for name, part in vectors.parts.items():
        for model, norm in zip(vectors.names, part.norms.tolist(), strict=True):
            share = norm / part.base**0.5 if part.base else float("nan")
            yield name, model, _number(norm), _number(share), _number(part.conflict)


def _ranks(spectra: Iterable[Spectrum]) -> Iterable[tuple[str, ...]]:
    for found in spectra:
        yield found.matrix, found.task, *map(_number, (found.norm, found.effective, found.stable, found.ninety))


def _overlaps(vectors: Vectors, overlaps: Iterable[Overlap]) -> Iterable[tuple[str, ...]]:
    for found in overlaps:
        for i, one in enumerate(vectors.names[: vectors.tasks]):
            for j, other in enumerate(vectors.names[:i]):
                yield found.matrix, one, other, _number(found.shares[i, j].item()), _number(found.chance)


def draw(vectors: Vectors, spectra: Sequence[Spectrum], overlaps: Sequence[Overlap]) -> "Figure":
    """Six panels: angles and overlaps of tasks, and sizes, signs, ranks and spectra by depth (of the blocks)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 3).flat, panels(vectors, spectra, overlaps), strict=True):
        panel.plot(axes)
        axes.set_title(panel.title)
    return figure
