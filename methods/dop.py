"""DOP: tasks merged one after the other, each weighed in two projections against what was merged before."""

from typing import NamedTuple

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.decomposition import TALL
from mergebench.methods.spectral import by_matrix
from mergebench.methods.stacks import with_experts

# The two losses' shares are no smaller than this where one gradient alone is the shortest combination.
LEAST = 1e-3


class Projections(NamedTuple):
    """What a distance D from a weight counts as: ||S U^T D||^2 + ||D V S||^2, by the products of its factors.

    Args:
        weight: [m, n], no wider than long.
        long: U S [m, n]; a square one's product with its transpose [m, m], which is quicker then.
        square: V S^2 V^T [n, n].
    """

    weight: Tensor
    long: Tensor
    square: Tensor

    @classmethod
    def of(cls, weight: Tensor, base: Tensor, share: float) -> "Projections":
        """Of a weight's change from the base, cut to its leading triplets: those whose sum is below a share of all.

        By the eigenvectors of the change's Gram: what squares lose of small values is nothing in a sum of squares.
        """
        change = (weight - base).double()
        squares, right = torch.linalg.eigh(change.T @ change)
        values, right = squares.flip(0).clamp(min=0).sqrt(), right.flip(1)
        right = right * (values.cumsum(0) < share * values.sum())
        long = (change @ right).to(weight)
        square = ((right * values.square()) @ right.T).to(weight)
        return cls(weight, long @ long.T if len(long) < TALL * long.shape[1] else long, square)

    def slope(self, merged: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at a merged weight, a scalar, and its gradient [m, n]."""
        distance = merged - self.weight
        if self.long.shape[0] == self.long.shape[1]:
            half = self.long @ distance
        else:
            half = self.long @ (self.long.T @ distance)
        half.addmm_(distance, self.square)
        return (distance * half).sum(), 2 * half


def shortest(first: Tensor, second: Tensor) -> Tensor:
    """The share c of the first of two gradients in the shortest c g_1 + (1 - c) g_2, a scalar."""
    one, both, other = (first * first).sum(), (first * second).sum(), (second * second).sum()
    apart = one + other - 2 * both
    share = (other - both) / apart.where(apart > 0, 1)
    return torch.where(both >= one, 1 - LEAST, torch.where(both >= other, LEAST, share))


def between(old: Projections, new: Projections, *, steps: int, lr: float, stability: float, memory: float) -> Tensor:
    """Adam on the two losses from the middle, weighed so that both fall, by a moving average of such weights.

    Args:
        old, new: what was merged before, and what is to enter.
        steps, lr: of Adam.
        stability: the old one's first weight.
        memory: how much of the weight a step keeps.

    Returns:
        [m, n].
    """
    merged = (old.weight + new.weight) / 2
    merged.grad = torch.empty_like(merged)
    weight = merged.new_tensor(stability)
    optimizer = torch.optim.Adam([merged], lr=lr, fused=True)
    for _ in range(steps):
        (loss, slope), (other_loss, other_slope) = old.slope(merged), new.slope(merged)
        unit = [s / value.where(value > 0, 1) for value, s in ((loss, slope), (other_loss, other_slope))]
        weight = memory * weight + (1 - memory) * shortest(*unit)
        merged.grad.copy_(weight * slope + (1 - weight) * other_slope)
        optimizer.step()
    return merged.detach()


@merge_method(
    "dop",
    title="DOP",
    paper="NeurIPS 2025, dual projections",
    needs=Needs(base=True),
    year=2025,
    fidelity="released code",
    holds="T + 40 tensors",
    cost="2 eigendecompositions in float64 and 200 steps of 4 products a matrix and task; no passes",
    ranges={"lr": (1e-6, 1e-2), "stability": (0.1, 0.9)},
)
def dop(
    pool: ModelPool,
    *,
    steps: NonNegativeInt = 200,
    lr: PositiveFloat = 1e-4,
    stability: ClosedUnitInterval = 0.8,
    memory: ClosedUnitInterval = 0.999,
    share: ClosedUnitInterval = 0.99999,
) -> StateDict:
    """Expert after expert, in the order of the tasks' names, each merged with the model so far.

        L_i(W) = ||S_i U_i^T (W - W_i)||^2 + ||(W - W_i) V_i S_i||^2,   W_i - W_0 = U_i S_i V_i^T, i = so far, new
        W by Adam from (W_sofar + W_new) / 2, along a dL_sofar + (1 - a) dL_new
        a <- b a + (1 - b) argmin_c ||c dL_sofar / L_sofar + (1 - c) dL_new / L_new||^2,   a = a_0 at first

    For the weights of the blocks' linear layers, query, key and value each by itself; all other parameters: the mean
    of the model so far and the new one. U_i are the directions that outputs moved along, V_i those of inputs: W may
    leave W_i where W_i did nothing. Adam's rate counts in the weights' own unit. In a sequence of arriving tasks a step
    goes on from the model of the step before.
    Source: "Continual model merging without data: dual projections for balancing stability and plasticity", as
    FusionBench computes it; there the order of the tasks is random.

    Args:
        steps, lr: of Adam.
        stability: a_0, the first weight of what was merged before.
        memory: b.
        share: triplets count whose singular values sum to less than this share of all.
    """
    carried = [pool.earlier.name] if pool.earlier else []
    order = [*carried, *(task for task in pool.tasks if task not in carried)]
    weights = set(pool.layout.linear_weights)

    def one_by_one(states: Tensor) -> Tensor:
        if states.shape[-2] < states.shape[-1]:  # the two projections change places
            return one_by_one(states.mT).mT
        base, merged, *arriving = states.unbind()
        for expert in arriving:
            ends = (Projections.of(weight, base, share) for weight in (merged, expert))
            merged = between(*ends, steps=steps, lr=lr, stability=stability, memory=memory)
        return merged

    def merged(name: str) -> Tensor:
        states = with_experts(pool, name, pool.base[name], tasks=order)
        if name in weights:
            return by_matrix(pool.layout, name, states, one_by_one)
        mean = states[1]
        for expert in states[2:]:
            mean = (mean + expert) / 2
        return mean

    return pool.map_names(merged)
