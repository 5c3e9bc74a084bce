"""Spectra of task matrices, and how far the directions of two tasks lie in each other's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mergebench.errors import MergebenchError
from mergebench.merging.layout import Layout

# How finely a spectrum is kept: its values at these shares of the rank.
POINTS = 64
ENERGY = 0.9


@dataclass(frozen=True)
class Spectrum:
    """The singular values of one task matrix.

    Args:
        matrix: its parameter's name, of a fused query-key-value with " q", " k" or " v" behind it.
        task: whose.
        norm: ||tau||.
        effective: effective rank as a share of the full one, exp(H(p)) / r with p_i = s_i^2 / sum s^2, H the entropy.
        stable: stable rank ||tau||^2 / s_1^2, as a share.
        ninety: the share of directions that hold 90 % of the energy.
        curve: s_i / s_1 at POINTS places from the first value to the last [POINTS].
        block: the number of the block that it is in; None if it is in none.
    """

    matrix: str
    task: str
    norm: float
    effective: float
    stable: float
    ninety: float
    curve: Tensor
    block: int | None = None


@dataclass(frozen=True)
class Overlap:
    """How far the leading directions of task matrices lie in each other's.

    Args:
        matrix: as of `Spectrum`.
        shares: ||U_i^T U_j||^2 / k, and of V likewise, their mean [T, T]: 1 for the same k directions, 0 for
            orthogonal ones.
        chance: what random directions would have.
    """

    matrix: str
    shares: Tensor
    chance: float


def task_matrices(
    layout: Layout, base: Mapping[str, Tensor], experts: Mapping[str, Mapping[str, Tensor]]
) -> Iterator[tuple[str, Tensor]]:
    """The linear layers' task matrices [T, m, n], from the first block on, query, key and value one by one."""
    for name in layout.linear_weights:
        changes = (expert[name].float() - base[name].float() for expert in experts.values())
        stack = torch.stack([layout.matrix(name, change) for change in changes])
        count = layout.fused.get(name, 1)
        for part, vectors in zip(("q", "k", "v"), stack.chunk(count, dim=1), strict=False):
            yield (f"{name} {part}" if count > 1 else name), vectors


def spectrum(matrix: str, task: str, values: Tensor) -> Spectrum:
    """What is told of falling singular values [r]; NaN where there is nothing to tell, as of a matrix that stayed."""
    values = values.double()
    squares = values.square()
    energy = squares.sum()
    if energy == 0:
        nothing = torch.full((POINTS,), torch.nan)
        return Spectrum(matrix, task, 0.0, float("nan"), float("nan"), float("nan"), nothing)
    shares = squares / energy
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    # What rounding just misses is reached.
    reached = int((shares.cumsum(0) < ENERGY - 1e-12).sum()) + 1
    places = torch.linspace(0, len(values) - 1, POINTS).round().long()
    return Spectrum(
        matrix,
        task,
        energy.sqrt().item(),
        (entropy.exp() / len(values)).item(),
        (energy / squares[0] / len(values)).item(),
        reached / len(values),
        (values / values[0])[places].float(),
    )


def overlap(matrix: str, lefts: Tensor, rights: Tensor) -> Overlap:
    """Of leading directions: columns of [T, m, k], and of [T, n, k]."""
    tasks, _, count = lefts.shape
    shares = torch.zeros(tasks, tasks)
    for bases in (lefts, rights):
        shares += torch.einsum("imk,jml->ijkl", bases, bases).square().sum((2, 3)) / count / 2
    chance = (count / lefts.shape[1] + count / rights.shape[1]) / 2
    return Overlap(matrix, shares, chance)


def look_at_spectra(
    layout: Layout, base: Mapping[str, Tensor], experts: Mapping[str, Mapping[str, Tensor]]
) -> tuple[list[Spectrum], list[Overlap]]:
    """Decompose every task matrix of the blocks' linear layers.

    Args:
        layout, base, experts: as `look_at_vectors` takes them.

    Returns:
        A spectrum for each matrix and task, and an overlap for each matrix, of 1 / T of the directions each.

    Raises:
        MergebenchError: an encoder without matrices.
    """
    if not layout.linear_weights:
        raise MergebenchError("this encoder has no matrices to be looked at: no linear layers, no plain convolutions")
    spectra: list[Spectrum] = []
    overlaps: list[Overlap] = []
    for name, vectors in task_matrices(layout, base, experts):
        left, values, right = torch.linalg.svd(vectors, full_matrices=False)
        block = layout.depth_of(name)
        spectra += [replace(spectrum(name, task, own), block=block) for task, own in zip(experts, values, strict=True)]
        count = max(1, values.shape[1] // len(vectors))
        overlaps.append(overlap(name, left[:, :, :count], right[:, :count].mT))
    return spectra, overlaps
