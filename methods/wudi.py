"""WUDI-Merging: the merged task vector is moved until it disturbs no task along that task's own vector."""

from typing import Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.alike import by_group, groups_alike

# Matrices of one shape are treated together as long as they have no more entries than this: few enough for a
# processor's cache.
TOGETHER = 300_000


def unit(vector: Tensor) -> Tensor:
    """Matrices [..., m, n], each divided by its norm; zero stays zero."""
    norms: Tensor = torch.linalg.matrix_norm(vector, keepdim=True)
    return vector / norms.clamp(min=torch.finfo(vector.dtype).tiny)


def interference(merged: Tensor, vectors: Tensor) -> Tensor:
    """sum_t ||(merged - tau_t) tau_t^T||^2 / ||tau_t||^2, of merged [..., m, n] and task matrices [T, ..., m, n]."""
    parts = (((merged - vector) @ unit(vector).mT).square().sum() for vector in vectors)
    return sum(parts, start=vectors.new_zeros(()))


def least_interference(vectors: Tensor, steps: int, lr: float) -> Tensor:
    """Adam on the interference, from the sum of the task matrices: [T, ..., m, n] -> [..., m, n].

        gradient = 2 (merged G - B),   G = sum_t G_t,   B = sum_t tau_t G_t,   G_t = tau_t^T tau_t / ||tau_t||^2

    G and B are made once, so that a step costs one product, whatever the number of tasks.
    """
    merged = vectors.sum(0).reshape(-1, *vectors.shape[-2:])
    gram, target = torch.zeros_like(merged.mT @ merged), torch.zeros_like(merged)
    for vector in vectors:
        direction = unit(vector).reshape(merged.shape)
        own = direction.mT @ direction
        gram += own
        target += vector.reshape(merged.shape) @ own
    merged.grad = torch.empty_like(merged)
    optimizer = torch.optim.Adam([merged], lr=lr, fused=True)
    for _ in range(steps):
        # Nothing is fused into the product: what is zero on paper must be, for Adam makes a step of any rounding.
        torch.bmm(merged, gram, out=merged.grad).sub_(target).mul_(2)
        optimizer.step()
    return merged.detach().view(vectors.shape[1:])


@merge_method(
    "wudi",
    title="WUDI-Merging",
    paper="arXiv:2503.08099",
    needs=Needs(base=True),
    year=2025,
    fidelity="released code",
    holds="T + 40 tensors",
    cost="400 products a matrix; no passes",
    ranges={"steps": (50, 1000), "lr": (1e-6, 1e-4)},
)
def wudi(
    pool: ModelPool,
    *,
    steps: NonNegativeInt = 400,
    lr: PositiveFloat = 1e-5,
    parameters: Literal["all", "linear"] = "all",
) -> StateDict:
    """The sum of the task vectors, moved in every matrix to where it interferes least with the tasks.

        theta = theta_0 + argmin_tau sum_t ||(tau - tau_t) tau_t^T||^2 / ||tau_t||^2,   by Adam from tau = sum_t tau_t

    The rows of tau_t span, nearly, the inputs that task t's layer was trained on: what is small on them is small on
    the task. With this rate an entry moves by no more than steps times lr, so it is the start that sets the scale.
    Source: Cheng et al., "Whoever started the interference should end it", section 4. The defaults are FusionBench's,
    from which most published comparisons come: every matrix is treated, the rest gets the mean task vector. The
    authors' code treats the linear layers of the blocks, leaves the rest at the base's values, and takes 300 steps
    (`parameters=linear steps=300`).

    Args:
        steps: Adam steps.
        lr: Adam's rate.
        parameters: what is merged.
    """
    layout, losses = pool.layout, torch.zeros(2, dtype=torch.float64, device=pool.device)
    chosen = [n for n in layout.floating if layout.is_matrix(n)] if parameters == "all" else layout.linear_weights

    def compute(names: list[str]) -> list[Tensor]:
        sizes = [layout.matrix_shape(name) for name in names]
        stacks = [pool.vectors(name).view(len(pool.tasks), *size) for name, size in zip(names, sizes, strict=True)]
        vectors = torch.cat(stacks, dim=1) if len(stacks) > 1 else stacks[0]
        del stacks
        found = least_interference(vectors, steps, lr)
        before_and_after = torch.stack([interference(tau, vectors) for tau in (vectors.sum(0), found)])
        losses.add_(before_and_after)
        pool.log(chosen.index(names[0]), loss_before=before_and_after[0], loss_after=before_and_after[1])
        parts = torch.split(found, [size[0] for size in sizes])
        return [part.reshape(layout.shapes[name]) for name, part in zip(names, parts, strict=True)]

    of_matrix = by_group(groups_alike(layout, chosen, TOGETHER), compute)

    def merged(name: str) -> Tensor:
        if name in chosen:
            return pool.base[name] + of_matrix(name)
        return pool.base[name] + pool.vectors(name).mean(0) if parameters == "all" else pool.base[name]

    state = pool.map_names(merged)
    pool.report(loss_before=losses[0], loss_after=losses[1])
    return state
