"""WUDI's minimum in closed form, with the directions kept back that the tasks hardly moved along."""

import math

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.spectral import merge_matrices

# Eigenvalues below this count as this where they are divided by; their sum is the number of tasks.
FLOOR = 1e-8


def shared_inputs(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What WUDI's interference is made of: sum_t ||(tau - tau_t) tau_t^T||^2 / ||tau_t||^2 is least where tau C = D.

    Args:
        vectors: task matrices [T, m, n].

    Returns:
        Of C = sum_t tau_t^T tau_t / ||tau_t||^2 the eigenvalues, falling, [n] and their vectors, columns of [n, n]; and
        D = sum_t tau_t tau_t^T tau_t / ||tau_t||^2 [m, n].
    """
    width = vectors.shape[-1]
    shared, wanted = vectors.new_zeros(width, width), torch.zeros_like(vectors[0])
    for vector in vectors:
        energy = vector.square().sum()
        if energy > 0:  # a task that left the matrix alone has no inputs there
            own = vector.T @ vector / energy
            shared += own
            wanted.addmm_(vector, own)
    values, directions = torch.linalg.eigh(shared)
    return values.flip(0).clamp(min=0), directions.flip(1), wanted


def effective_rank(values: Tensor) -> int:
    """(sum sqrt(l))^2 / sum l, rounded up: how many directions of eigenvalues l [n] there are, by their amplitudes."""
    total = values.sum()
    # What rounding leaves of a whole number is that number.
    return math.ceil((values.sqrt().sum().square() / total).item() - 1e-9) if total > 0 else 0


def filtered_minimum(vectors: Tensor, kept: int | None, time: float = math.inf) -> Tensor:
    """The sum of task matrices, moved to WUDI's minimum along the leading directions of their inputs.

        tau = S + (D V diag(1 / l) - S V) diag(1 - exp(-l t)) V^T,   S = sum_t tau_t

    Args:
        vectors: [T, m, n].
        kept: how many directions; None for `effective_rank`.
        time: t; all the way, if infinite.

    Returns:
        [m, n].
    """
    values, directions, wanted = shared_inputs(vectors)
    kept = effective_rank(values) if kept is None else kept
    values, directions = values[:kept], directions[:, :kept]
    total = vectors.sum(0)
    share = -torch.expm1(-values * time) if math.isfinite(time) else torch.ones_like(values)
    moves = (wanted @ directions / values.clamp(min=FLOOR) - total @ directions) * share
    return total + moves @ directions.T


@merge_method(
    "swudi",
    title="SWUDI",
    paper="arXiv:2606.07289",
    needs=Needs(base=True),
    year=2026,
    fidelity="paper",
    holds="8 T + 48 tensors",
    cost="an eigendecomposition in float64 a matrix; no passes",
    ranges={"scaling": (0.5, 2.0), "time": (10.0, 1e5), "share": (0.1, 1.0)},
)
def swudi(
    pool: ModelPool,
    *,
    scaling: NonNegativeFloat = 1.0,
    time: NonNegativeFloat = 1300.0,
    share: ClosedUnitInterval = 0.65,
) -> StateDict:
    """WUDI's minimum in closed form, approached along the leading directions as far as a gradient flow would.

        C = sum_t w_t tau_t^T tau_t = V diag(l) V^T,   D = sum_t w_t tau_t tau_t^T tau_t,   w_t = 1 / ||tau_t||^2
        tau = S + (D V diag(1 / l) - S V) diag(1 - exp(-l t)) V^T over the K largest l,   S = sum_t tau_t

    K = ceil(share n). theta_0 + scaling tau; other parameters: the mean task vector. The interference is least at
    D C^+; directions of small l, along which the tasks hardly moved, keep S. l does not depend on the weights' unit,
    so that one t suits all models. `share=1 time=300` is the paper's soft form.
    Source: "SWUDI", arXiv:2606.07289; the interference is that of `wudi`.

    Args:
        scaling: of tau.
        time: t, how far towards the minimum.
        share: of the directions that may move.
    """

    def merge(vectors: Tensor, _: object) -> Tensor:
        return filtered_minimum(vectors, math.ceil(share * vectors.shape[-1]), time)

    return merge_matrices(pool, merge, scaling)


@merge_method(
    "aswudi",
    title="ASWUDI",
    paper="arXiv:2606.07289",
    needs=Needs(base=True),
    year=2026,
    fidelity="paper",
    holds="8 T + 48 tensors",
    cost="an eigendecomposition in float64 a matrix; no passes",
    ranges={"scaling": (0.5, 2.0)},
)
def aswudi(pool: ModelPool, *, scaling: NonNegativeFloat = 1.0) -> StateDict:
    """WUDI's minimum in closed form along as many directions as the tasks' inputs span.

        C = sum_t w_t tau_t^T tau_t = V diag(l) V^T,   D = sum_t w_t tau_t tau_t^T tau_t,   w_t = 1 / ||tau_t||^2
        tau = S - S V V^T + D V diag(1 / l) V^T over the K largest l,   S = sum_t tau_t
        K = ceil((sum sqrt(l))^2 / sum l)

    theta_0 + scaling tau; other parameters: the mean task vector. Nothing is to be chosen but the scale.
    Source: as `swudi`.

    Args:
        scaling: of tau.
    """
    return merge_matrices(pool, lambda vectors, _: filtered_minimum(vectors, None), scaling)
