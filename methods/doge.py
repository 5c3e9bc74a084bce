"""DOGE: one shift of all task vectors, found by projected gradient descent, before they are merged."""

from collections.abc import Callable
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.errors import MergebenchError
from mergebench.methods.adaptation import learn_coefficients
from mergebench.methods.alike import by_group, groups_alike
from mergebench.methods.shifting import shift
from mergebench.methods.sparsify import magnitude_thresholds
from mergebench.methods.spectral import TIE, Rounding, directions, task_matrices, triplets
from mergebench.methods.vectors import Asked, Shifted

# Matrices of one shape are shifted together as long as they have no more entries than this.
TOGETHER = 300_000


def task_weights(vectors: Tensor, eta: float) -> Tensor:
    """eta / ||tau_t|| of task matrices [T, m, n]: [T], zero for a task that changed nothing."""
    norms = torch.linalg.matrix_norm(vectors)
    return torch.where(norms > 0, eta / norms, 0)


def shared_subspace(vectors: Tensor, rank: int, rounding: Rounding | None = None) -> Tensor:
    """The leading directions of all tasks' leading left singular vectors.

    Args:
        vectors: task matrices [T, m, n]; each has its share of min(m, n) / T directions, at least one.
        rank: of the subspace.
        rounding: of the matrices, as `task_matrices` has it.

    Returns:
        Orthonormal columns [m, k], k = `rank`; fewer if the tasks have not as many directions, more if the last of
        them is as much the tasks' own as others are.
    """
    tasks, *shape = vectors.shape
    rounding = rounding or Rounding.unknown(vectors)
    left, values, _ = triplets(vectors, max(1, min(shape) // tasks), rounding)
    basis, weights, _, off = directions(torch.cat([*left], dim=1), rounding.of_vectors(values))
    if not 0 < rank < len(weights):
        return basis[:, :rank]
    # Directions that all tasks have weigh alike: which of them a decomposition gives first means nothing.
    return basis[:, weights >= weights[rank - 1] - torch.maximum(TIE * weights[0], off[rank - 1])]


def shifted_vectors(
    pool: ModelPool, *, eta: float, density: float, subspace: int, steps: int, lr: float
) -> Callable[[str], tuple[Shifted, Tensor]]:
    """The task vectors of linear layers, cut to where they are largest, and their shifts.

    Args:
        pool: needs `base`.
        eta, density, subspace, steps, lr: as `doge_ta` has them.

    Returns:
        Name of a linear layer's weight -> task matrices [T, P, m, n], their shifts [P, m, n], and weights lambda
        [P, T]; P = 3 for a fused query, key and value, each of which is shifted by itself. What a task left alone, or
        what is cut off, is zero and stays so.
    """
    layout, names = pool.layout, pool.layout.linear_weights
    if not names:
        raise MergebenchError("this encoder has no matrices to be shifted: no linear layers, no plain convolutions")
    thresholds = magnitude_thresholds(pool.vector, pool.tasks, names, density)[:, None, None]

    def spanned(name: str) -> tuple[list[Tensor], list[Tensor]]:
        """The task matrices [T, m, n] of a layer, and their subspaces [m, k]."""
        states = (pool.base[name], *(expert[name] for expert in pool.experts.values()))
        matrices: list[Tensor] = []
        subspaces: list[Tensor] = []
        for base, *experts in zip(*(layout.matrices(name, state) for state in states), strict=True):
            exact, rounding = task_matrices(base, torch.stack(experts))
            rank = min(base.shape) // (subspace or len(pool.tasks))
            subspaces.append(shared_subspace(exact, rank, rounding).to(base))
            matrices.append(exact.to(base))
        return matrices, subspaces

    def compute(group: list[str]) -> list[tuple[Shifted, Tensor]]:
        matrices: list[Tensor] = []
        subspaces: list[Tensor] = []
        for name in group:
            for every, own in zip((matrices, subspaces), spanned(name), strict=True):
                every += own
        vectors = torch.stack(matrices)
        matrices.clear()
        weights = torch.stack([task_weights(of_one, eta) for of_one in vectors])
        bases = pad_sequence([basis.T for basis in subspaces], batch_first=True).mT
        common = shift(vectors, weights, bases, steps=steps, lr=lr)
        vectors = vectors.masked_fill_(vectors.abs() < thresholds, 0)
        parts = [layout.matrix_shape(name)[0] for name in group]
        found = zip(*(torch.split(whole, parts) for whole in (vectors, common, weights)), strict=True)
        return [(Shifted(own.transpose(0, 1), moved), weight) for own, moved, weight in found]

    return by_group(groups_alike(layout, names, TOGETHER), compute)


@merge_method(
    "doge_ta",
    title="DOGE TA",
    paper="arXiv:2501.01230",
    needs=Needs(base=True),
    year=2025,
    fidelity="released code",
    holds="1 model, 8 T + 8 tensors",
    cost="an SVD a task and matrix; no passes",
    ranges={"eta": (0.02, 0.2), "density": (0.1, 0.9), "subspace": (2, 16), "lr": (1e-5, 1e-3)},
)
def doge_ta(
    pool: ModelPool,
    *,
    eta: PositiveFloat = 0.07,
    density: ClosedUnitInterval = 0.3,
    subspace: NonNegativeInt = 6,
    steps: PositiveInt = 400,
    lr: PositiveFloat = 1e-4,
) -> StateDict:
    """Task arithmetic on task vectors that share a shift, which keeps the merged rows near each task's own.

        lambda_t = eta / ||tau_t||;   min_D  sum_t sum_rows <tau_t, tau_t - sum_i lambda_i (tau_i + D)>^2
        gradients G - U U^T G,   U: the first r / k left singular vectors of [U_1 ... U_T], U_t the first r / T of tau_t
        theta = theta_0 + sum_t lambda_t m_t (tau_t + D),   m_t: the largest magnitudes of tau_t over all these layers

    Each matrix of the blocks' linear layers by itself (query, key and value are three; r is its full rank); all other
    parameters stay the base's.
    Source: Wei et al., "Modeling multi-task model merging as adaptive projective gradient descent"; formula and
    settings as in its public code. Directions in which no task changed anything are left out of U; those that weigh as
    much as the last one that is in (equal experts have all directions in common) are in too.

    Args:
        eta: of the tasks' weights.
        density: fraction of the entries of a task vector to keep.
        subspace: k; 0 for the number of tasks.
        steps: Adam steps.
        lr: Adam's rate.
    """
    of = shifted_vectors(pool, eta=eta, density=density, subspace=subspace, steps=steps, lr=lr)

    def merged(name: str) -> Tensor:
        shifted, weights = of(name)
        base = pool.base[name]
        return base + (weights.T[:, :, None, None] * shifted.moved()).sum(0).view(base.shape)

    return pool.finish({**pool.base, **{name: merged(name) for name in pool.layout.linear_weights}})


@merge_method(
    "doge_am",
    title="DOGE AM",
    paper="arXiv:2501.01230",
    needs=Needs(base=True, test_inputs=True, heads=True),
    needs_when={("adapt_on", "calibration"): Needs(base=True, calibration=True, heads=True)},
    year=2025,
    fidelity="released code",
    holds="T experts, 6 models, 8 T tensors",
    cost="an SVD a task and matrix; a forward and a backward pass over 16 images a task and step",
    ranges={"density": (0.1, 0.9), "subspace": (0, 16), "lr": (1e-4, 1e-2), "init": (0.1, 0.5)},
)
def doge_am(
    pool: ModelPool,
    *,
    eta: PositiveFloat = 0.07,
    density: ClosedUnitInterval = 0.3,
    subspace: NonNegativeInt = 0,
    shift_steps: PositiveInt = 400,
    shift_lr: PositiveFloat = 1e-4,
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 1e-3,
    init: float = 0.3,
    batch_size: PositiveInt = 16,
    adapt_on: Literal["test", "calibration"] = "test",
) -> StateDict:
    """DOGE's shifted and masked task vectors with AdaMerging's coefficients.

        theta(lambda) = theta_0 + sum_t lambda_t m_t (tau_t + D),   one lambda per task and linear layer

    D and m_t are those of DOGE TA, lambda is learnt as in AdaMerging. Other parameters stay the base's.
    Source: as DOGE TA. Its public code learns a shift of each task's own; all of them take the same steps (but for
    Adam's epsilon), for their gradients differ by a factor alone.

    Args:
        eta, density: as in DOGE TA.
        subspace: as in DOGE TA, where the public code has 6; here it has the number of tasks.
        shift_steps, shift_lr: Adam steps and rate of the shift.
        steps, lr: Adam steps and rate of the coefficients.
        init: every coefficient's first value.
        batch_size: images per task and step.
        adapt_on: the split whose unlabelled images are used.
    """
    of = shifted_vectors(pool, eta=eta, density=density, subspace=subspace, steps=shift_steps, lr=shift_lr)
    vectors = Asked(pool.layout.linear_weights, lambda name: of(name)[0])
    return learn_coefficients(pool, vectors, init=init, steps=steps, lr=lr, batch_size=batch_size, adapt_on=adapt_on)
