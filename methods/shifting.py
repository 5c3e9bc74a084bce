"""DOGE's shift: what is added to all task vectors alike, so that the merged matrix's rows come near each task's."""

import torch
from torch import Tensor


def shift(vectors: Tensor, weights: Tensor, subspace: Tensor, *, steps: int, lr: float) -> Tensor:
    """The shift that brings the merged matrix's rows near each task's, by Adam on gradients outside a subspace.

        min_D  sum_t sum_rows <tau_t, tau_t - sum_i lambda_i (tau_i + D)>^2

    Args:
        vectors: task matrices [T, m, n], or those of P matrices [P, T, m, n].
        weights: lambda [T], or [P, T].
        subspace: orthonormal columns [m, k], which the gradients are freed of, or [P, m, k], where columns may be zero.
        steps, lr: of Adam.

    Returns:
        D [m, n], or [P, m, n].
    """
    if vectors.ndim == 3:
        return shift(vectors[None], weights[None], subspace[None], steps=steps, lr=lr)[0]
    tasks, width = vectors.shape[1], vectors.shape[3]
    mean = (weights[:, :, None, None] * vectors).sum(1)
    gaps = torch.stack([(own * (own - mean)).sum(-1) for own in vectors.unbind(1)], dim=-1).view(-1, 1, tasks)
    # Times lambda's sum, which D meets in the loss, and the loss's gradient once more.
    rows = (weights.sum(1)[:, None, None, None] * vectors).transpose(1, 2).reshape(-1, tasks, width)
    moved = torch.zeros_like(vectors[:, 0])
    moved.grad, inside = torch.empty_like(moved), subspace.mT.contiguous()
    flat, gradient = moved.view(-1, 1, width), moved.grad.view(-1, 1, width)
    optimizer = torch.optim.Adam([moved], lr=lr, fused=True)
    with torch.no_grad():
        for _ in range(steps):
            remaining = torch.baddbmm(gaps, flat, rows.mT, beta=-2, alpha=2)
            torch.bmm(remaining, rows, out=gradient)
            moved.grad.baddbmm_(subspace, inside @ moved.grad, alpha=-1)
            optimizer.step()
    return moved.detach()
