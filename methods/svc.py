"""SVC: what another method merged, each of its singular values calibrated by how often the tasks were counted in it."""

from typing import Any, Literal

import torch
from jsonargparse.typing import PositiveFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method, start_from
from mergebench.methods.spectral import by_matrix, triplets

# A response smaller than this many units of rounding is none: the quotient by it would be noise without bound.
ROUNDING = 10


def coefficients(merged: Tensor, tasks: Tensor, least: Tensor) -> Tensor:
    """<merged, task> / ||task||^2: how much of each task's response the merged response contains.

    Args:
        merged: responses [..., n].
        tasks: responses [T, ..., n].
        least: [T]; a task's responses no longer than this are taken for none.

    Returns:
        [T, ...]; 0 where a task has no response.
    """
    lengths = torch.linalg.vector_norm(tasks, dim=-1)
    present = lengths > least.view(-1, *[1] * (lengths.ndim - 1))
    return torch.where(present, (merged * tasks).sum(-1) / torch.where(present, lengths, 1).square(), 0)


def calibrated_spectrum(merged: Tensor, vectors: Tensor, alpha: float) -> Tensor:
    """The merged matrix [m, n] with its singular values calibrated by the task matrices [T, m, n]."""
    left, values, right = triplets(merged)
    least = ROUNDING * torch.finfo(merged.dtype).eps * torch.linalg.vector_norm(vectors, dim=(1, 2))
    counted = coefficients(values[:, None] * right, left.T @ vectors, least)
    return left * (values / counted.clamp(min=alpha).mean(0)) @ right


def calibrated_whole(merged: Tensor, vectors: Tensor, alpha: float) -> Tensor:
    """The merged matrix [m, n] times the one factor that the task matrices [T, m, n] call for."""
    counted = coefficients(merged.flatten(), vectors.flatten(1), vectors.new_zeros(len(vectors))).clamp(min=alpha)
    return merged * (counted.sum() / counted.square().sum())


@merge_method(
    "svc",
    title="SVC",
    paper="arXiv:2602.05536",
    needs=Needs(base=True),
    year=2026,
    fidelity="paper",
    cost="what its start costs, then 2 T + 6 tensors at a time; 1 SVD a matrix; no passes of its own",
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

    Only the weights of linear layers are calibrated, as in the released code; the rest is as the start has it. A task
    without a response, to rounding, has s = 0. Where the start's singular values are all equal (Iso-C, Iso-CTS) its
    directions, and with them the result, are decided by rounding.
    Source: Li et al., "When shared knowledge hurts: spectral over-accumulation in model merging", algorithm 1.

    Args:
        start: the method whose result is calibrated.
        start_settings: its hyper-parameters; the others have their defaults.
        alpha: what s counts as at least; 1 / T, the published value, if not given (1 was used for TSV-M).
        mode: a factor for every singular value, or one for every matrix.
    """
    floor = 1 / len(pool.tasks) if alpha is None else alpha
    calibrate = calibrated_spectrum if mode == "singular" else calibrated_whole
    begun, weights = start_from(pool, start, start_settings), set(pool.layout.linear_weights)
    squares = torch.zeros(2, dtype=torch.float64)

    def merged(name: str) -> Tensor:
        if name not in weights:
            return begun[name]
        base = pool.base[name]
        before = begun[name].to(base) - base
        stack = torch.cat([before[None], pool.vectors(name)])
        after = by_matrix(pool.layout, name, stack, lambda parts: calibrate(parts[0], parts[1:], floor))
        squares.add_(torch.stack([delta.square().sum() for delta in (before, after)]).cpu())
        return base + after

    state = pool.map_names(merged)
    pool.report(norm_before=squares[0].sqrt(), norm_after=squares[1].sqrt())
    return state
