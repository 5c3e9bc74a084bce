"""SCE: select entries in which tasks differ, weigh tasks matrix by matrix, erase what goes against the majority."""

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import entries, ranked


def most_varied(vectors: Tensor, share: float) -> Tensor:
    """Task vectors [T, n] with all entries zeroed but those whose variance over tasks is largest.

    Args:
        vectors: [T, n].
        share: of the entries that vary at all.
    """
    variance = vectors.var(0, unbiased=False)
    kept = entries(share, int((variance > 0).sum()))
    if kept == 0:
        return torch.zeros_like(vectors)
    return vectors * (variance >= ranked(variance.clone(), len(variance) - kept))


def weighted_majority(vectors: Tensor) -> Tensor:
    """The mean of the entries whose sign is their sum's, weighed by each vector's energy: [T, n] -> [n].

    Where the sum is zero the sign is taken to be plus.
    """
    sign = torch.where(vectors.sum(0) >= 0, 1, -1)
    weights = (vectors * sign > 0) * vectors.square().mean(1, keepdim=True)
    total = weights.sum(0)
    return (weights * vectors).sum(0) / total.where(total > 0, 1)


@merge_method(
    "sce",
    title="SCE",
    paper="arXiv:2408.07990",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="6 T + 6 tensors",
    cost="no passes",
    ranges={"density": (0.05, 1.0)},
)
def sce(pool: ModelPool, *, density: ClosedUnitInterval = 1.0) -> StateDict:
    """The entries in which the tasks differ most, averaged over the tasks of the majority's sign, by their energy.

        m = 1 where var_t tau_t is among its largest, a share of those above 0, else 0;   tau'_t = m tau_t
        w_t = |tau'_t|^2 / sum_u |tau'_u|^2;   gamma = sign(sum_t tau'_t), plus where that is 0
        theta = theta_0 + sum_t w_t [sign(tau'_t) = gamma] tau'_t / sum_t w_t [sign(tau'_t) = gamma]

    Every parameter tensor by itself.
    Source: Wan et al., "FuseChat: knowledge fusion of chat models", section 3.3, as mergekit computes it; its default
    selects all entries, the paper a tenth.

    Args:
        density: the share of varying entries that is selected.
    """

    def merged(base: Tensor, experts: Tensor) -> Tensor:
        vectors = (experts - base).flatten(1)
        return base + weighted_majority(most_varied(vectors, density) if density < 1 else vectors).view(base.shape)

    return pool.map_tensors(merged)
