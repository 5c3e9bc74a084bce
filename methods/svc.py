"""SVC: what another method merged, each of its singular values calibrated by how often the tasks were counted in it."""

from typing import Any, Literal

import torch
from jsonargparse.typing import PositiveFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method, start_from
from mergebench.methods.spectral import Rounding, by_matrix, task_matrices, ties, triplets
from mergebench.methods.stacks import with_experts

# A response smaller than this many units of rounding is none: the quotient by it would be noise without bound.
ROUNDING = 10


def coefficients(merged: Tensor, tasks: Tensor, least: Tensor, groups: Tensor | None = None) -> Tensor:
    """<merged, task> / ||task||^2: how much of each task's response the merged response contains.

    Args:
        merged: responses [r, n].
        tasks: responses [T, r, n].
        least: [T]; a task's responses no longer than this are taken for none.
        groups: which of the r are one response together [r], counted from 0; each is its own, if None.

    Returns:
        [T, r]; 0 where a task has no response.
    """
    shared, squares = (merged * tasks).sum(-1), tasks.square().sum(-1)
    if groups is not None:
        shared, squares = (torch.zeros_like(x).index_add(1, groups, x)[:, groups] for x in (shared, squares))
    present = squares > least.square()[:, None]
    return torch.where(present, shared / torch.where(present, squares, 1), 0)


def calibrated_spectrum(merged: Tensor, vectors: Tensor, alpha: float, rounding: Rounding | None = None) -> Tensor:
    """The merged matrix with its singular values calibrated by the task matrices.

    Args:
        merged: [m, n].
        vectors: [T, m, n].
        alpha: what a coefficient counts as at least.
        rounding: of the merged matrix and the tasks' [1 + T], as `task_matrices` has it.

    Returns:
        [m, n].
    """
    eps, noise = rounding or Rounding.unknown(torch.cat([merged[None], vectors]))
    left, values, right = triplets(merged, rounding=Rounding(eps, noise[0]))
    least = torch.maximum(noise[1:], ROUNDING * eps * torch.linalg.matrix_norm(vectors))
    # Equal values have any basis of theirs, so their directions are calibrated as one.
    groups = ties(values, noise[0])
    counted = coefficients(values[:, None] * right, left.T @ vectors, least, groups)
    return left * (values / counted.clamp(min=alpha).mean(0)) @ right


def calibrated_whole(merged: Tensor, vectors: Tensor, alpha: float) -> Tensor:
    """The merged matrix [m, n] times the one factor that the task matrices [T, m, n] call for."""
    none = vectors.new_zeros(len(vectors))
    counted = coefficients(merged.view(1, -1), vectors.flatten(1)[:, None], none).clamp(min=alpha)
    return merged * (counted.sum() / counted.square().sum())


@merge_method(
    "svc",
    title="SVC",
    paper="arXiv:2602.05536",
    needs=Needs(base=True),
    year=2026,
    fidelity="paper",
    holds="1 model, 10 T tensors",
    cost="what its start costs; 1 SVD in float64 a matrix; no passes of its own",
    ranges={"alpha": (0.05, 1.0), "mode": ("singular", "layer")},
    starts="start",
)
def svc(
    pool: ModelPool,
    *,
    start: str = "task_arithmetic",
    start_settings: dict[str, Any] | None = None,
    alpha: PositiveFloat | None = None,
    mode: Literal["singular", "layer"] = "singular",
) -> StateDict:
    """Another method's result, with the directions weakened that several tasks share and the sum counted repeatedly.

        theta_start - theta_0 = U S V^T;   a_t,r = u_r^T tau_t;   s_t,r = <sigma_r v_r, a_t,r> / ||a_t,r||^2
        sigma'_r = sigma_r T / sum_t max(alpha, s_t,r);   theta = theta_0 + U S' V^T

    s_t,r is how much of task t's response in the output direction u_r the merged one contains: 1 is right, more is
    over-accumulation. With alpha = 1 directions can only be weakened, below that they can be strengthened too.

    `mode=layer` (not in the paper) asks the same of a whole matrix, with one factor for all its directions: the least
    squares of the projections' errors,

        s_t = <tau_start, tau_t> / ||tau_t||^2;   gamma = argmin sum_t (gamma max(alpha, s_t) - 1)^2
        theta = theta_0 + gamma tau_start,   gamma = sum_t max(alpha, s_t) / sum_t max(alpha, s_t)^2

    Only the weights of linear layers are calibrated, as in the released code; the rest is as the start has it. A
    task without a response, to rounding, has s = 0. Directions whose singular values are equal have one s together.
    Where they are equal but for the rounding of the start's result, as all of Iso-C's and Iso-CTS's are, the
    directions, and with them the result, are decided by rounding.
    Source: Li et al., "When shared knowledge hurts: spectral over-accumulation in model merging", algorithm 1.

    Args:
        start: the method whose result is calibrated.
        start_settings: its hyper-parameters; the others have their defaults.
        alpha: what s counts as at least; 1 / T, the published value, if not given (1 was used for TSV-M).
        mode: a factor for every singular value, or one for every matrix.
    """
    floor = 1 / len(pool.tasks) if alpha is None else alpha
    begun, weights = start_from(pool, start, start_settings), set(pool.layout.linear_weights)
    squares = torch.zeros(2, dtype=torch.float64, device=pool.device)

    def calibrated(states: Tensor) -> Tensor:
        vectors, rounding = task_matrices(states[0], states[1:])
        if mode == "layer":
            return calibrated_whole(vectors[0], vectors[1:], floor)
        return calibrated_spectrum(vectors[0], vectors[1:], floor, rounding)

    def merged(name: str) -> Tensor:
        if name not in weights:
            return begun[name]
        base = pool.base[name]
        begin = begun[name].to(base)
        states = with_experts(pool, name, base, begin)
        before, after = begin - base, by_matrix(pool.layout, name, states, calibrated)
        squares.add_(torch.stack([delta.square().sum() for delta in (before, after)]))
        return base + after

    state = pool.map_names(merged)
    pool.report(norm_before=squares[0].sqrt(), norm_after=squares[1].sqrt())
    return state
