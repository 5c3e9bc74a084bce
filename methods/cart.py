"""CART: low-rank parts of the experts' distances from their mean, added to the mean."""

from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.spectral import by_matrix, task_matrices, triplets
from mergebench.methods.stacks import with_experts


def leading_deviations(experts: Tensor, share: float) -> Tensor:
    """The sum of the leading parts of what experts' matrices differ by from their mean.

    Args:
        experts: [T, m, n].
        share: of the full rank that each expert keeps, rounded down; at least one triplet.

    Returns:
        [m, n], float64.
    """
    vectors, rounding = task_matrices(experts.double().mean(0), experts)
    left, values, right = triplets(vectors, max(1, int(share * min(vectors.shape[1:]))), rounding)
    return torch.einsum("tmk,tk,tkn->mn", left, values, right)


@merge_method(
    "cart",
    title="CART",
    paper="arXiv:2412.12153",
    needs=Needs(),
    year=2024,
    fidelity="paper",
    holds="8 T + 36 tensors",
    cost="T SVDs in float64 a matrix, of a part of it; no passes",
    idempotent=True,
    ranges={"scaling": (0.5, 3.0), "rank": (0.02, 1.0)},
)
def cart(
    pool: ModelPool,
    *,
    scaling: NonNegativeFloat = 2.0,
    rank: ClosedUnitInterval = 0.12,
    qkv: Literal["whole", "apart"] = "whole",
) -> StateDict:
    """The mean of the experts, plus the leading singular triplets of each one's distance from it.

        A = mean_t theta_t;   theta_t - A = U_t S_t V_t^T;
        theta = A + s sum_t (the first k triplets of theta_t - A),   k = rho r rounded down, at least one (r: full rank)

    The linear layers of the blocks are merged so; all other parameters are their mean. The base is not asked for. Task
    vectors about the mean need less rank than about the base; at full rank their sum is zero, and A is what is left.
    Triplets that are rounding alone are left out; what a cut would part of equal singular values is in as a whole.
    Source: Choi et al., "Revisiting weight averaging for model merging", section 4.

    Args:
        scaling: s; on ViT-B/32 published as 2.0 for 8 tasks, 1.5 for 14, and 1.9 for 20.
        rank: rho; published as 0.12, 0.16 and 0.32.
        qkv: whether a fused query-key-value weight is one matrix, as in the paper, or three.
    """
    linear = set(pool.layout.linear_weights)

    def merged(name: str) -> Tensor:
        mean = pool.mean(name)
        if name not in linear:
            return mean
        experts = with_experts(pool, name, mean)[1:]
        if qkv == "whole":
            leading = leading_deviations(experts.flatten(2), rank).view(mean.shape)
        else:
            leading = by_matrix(pool.layout, name, experts, lambda parts: leading_deviations(parts, rank))
        change: Tensor = scaling * leading
        return mean + change

    return pool.map_names(merged)
