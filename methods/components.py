"""Task matrices as singular components that a merge takes or leaves, and the slopes along them, without a graph."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from mergebench.methods.spectral import TIE

CHUNK = 2**22  # numbers of a product that are held at a time


class Components(NamedTuple):
    """Task matrices as singular triplets, one below the other, so that their sum over tasks is one product.

    Args:
        left: [T r, m].
        values: [T, r].
        right: [T r, n].
        first: [T, r], the first component with the same singular value; of equal ones any basis is a right one, so
            they are in or out together, by its score.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    first: Tensor


def decompose(vectors: Collection[Tensor]) -> Components:
    """Task matrices [T, m, n] as their components; asked for one by one, so that one alone is held in float64."""
    parts: Components | None = None
    for task, vector in enumerate(vectors):
        left, values, right = torch.linalg.svd(vector.double(), full_matrices=False)
        rank = len(values)
        alone = torch.ones_like(values, dtype=torch.bool)
        alone[1:] = -values.diff() > TIE * values[0]
        first = (alone * torch.arange(rank, device=values.device)).cummax(0).values
        if parts is None:
            tasks, (rows, columns) = len(vectors), vector.shape
            parts = Components(
                vector.new_empty(tasks * rank, rows), vector.new_empty(tasks, rank),
                vector.new_empty(tasks * rank, columns), first.new_empty(tasks, rank),
            )  # fmt: skip
        place = slice(task * rank, (task + 1) * rank)
        parts.left[place], parts.values[task], parts.right[place], parts.first[task] = left.mT, values, right, first
    assert parts is not None  # there are tasks
    return parts


def recombine(parts: Components, gates: Tensor) -> Tensor:
    """sum_t U_t (g_t S_t) V_t^T, for gates g [T, r], of equal values the first one's: [m, n]."""
    weights = (gates.gather(1, parts.first) * parts.values).flatten()
    taken = weights.nonzero()[:, 0]  # mostly few
    return (parts.left[taken] * weights[taken, None]).T @ parts.right[taken]


def slopes_along(parts: Components, slope: Tensor) -> Tensor:
    """What a step of each component by itself is worth: s <u, G v>, for the slope G [m, n] by the merged matrix.

    Args:
        parts: of the task matrices.
        slope: [m, n].

    Returns:
        [T, r], s_i <u_i, G v_i>.
    """
    wide = slope.shape[0] < slope.shape[1]
    if wide:
        slope = slope.T
    through, other = (parts.right, parts.left) if wide else (parts.left, parts.right)
    rows = max(1, CHUNK // slope.shape[1])
    pieces = zip(torch.split(through, rows), torch.split(other, rows), strict=True)
    along = [(x @ slope).mul_(y).sum(1) for x, y in pieces]
    return parts.values * torch.cat(along).view_as(parts.values)


def shared_slopes(parts: Components, along: Tensor) -> Tensor:
    """The slopes [T, r] along components where those of equal values are one: the first's is the sum, others' are 0."""
    return torch.zeros_like(along).scatter_add_(1, parts.first, along)
