"""AdaMerging: merging coefficients learnt by lowering the merged model's prediction entropy."""

from collections.abc import Sequence
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.adaptation import learn_coefficients
from mergebench.methods.ties import Vectors, combine_agreeing, trimmed_and_majority
from mergebench.methods.vectors import Asked


def keep_agreeing(vector: Vectors, tasks: Sequence[str], names: Sequence[str], density: float) -> Asked[Tensor]:
    """The entries that TIES adds up, each still its own task's; all others are zero.

    Args:
        vector, tasks, names, density: as `trimmed_and_majority` has them.

    Returns:
        name -> [T, *shape], each made when it is asked for.
    """
    trimmed, majority = trimmed_and_majority(vector, tasks, names, density)

    def agreeing(values: Tensor) -> Tensor:
        # What agrees adds up to the elected sign, and to zero only where nothing agrees.
        return torch.where(values * combine_agreeing(values, majority, "sum").sign() > 0, values, 0)

    return Asked(names, lambda name: agreeing(trimmed(name)))


@merge_method(
    "adamerging",
    title="AdaMerging",
    paper="arXiv:2310.02575",
    needs=Needs(base=True, test_inputs=True, heads=True),
    needs_when={("adapt_on", "calibration"): Needs(base=True, calibration=True, heads=True)},
    year=2023,
    fidelity="released code",
    holds="T experts, 5 models",
    cost="a forward and a backward pass over 16 images a task and step",
    ranges={"granularity": ("task", "layer"), "lr": (1e-4, 1e-2), "init": (0.1, 0.5)},
)
def adamerging(
    pool: ModelPool,
    *,
    granularity: Literal["task", "layer"] = "layer",
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 1e-3,
    init: float = 0.3,
    clamp: bool = False,
    batch_size: PositiveInt = 16,
    adapt_on: Literal["test", "calibration"] = "test",
) -> StateDict:
    """Task vectors with coefficients that minimise the entropy of the merged model's predictions.

        theta(lambda) = theta_0 + sum_t lambda_t tau_t,   one lambda per task, or per task and parameter tensor
        min_lambda  sum_t mean_x H(head_t(f_theta(lambda)(x))),   x unlabelled images of task t

    It adapts on images of the test split (without labels) unless told otherwise: that is the published protocol, and
    the leaderboard marks it.
    Source: Yang et al., "AdaMerging", eq. 4 to 7. Defaults are those of the public runs that others compare with; the
    authors' code clamps, and takes 500 steps of two batches of 16 a task (`steps=500 batch_size=32 clamp=true`).

    Args:
        granularity: one coefficient per task, or per task and parameter tensor.
        steps: Adam steps.
        lr: Adam's rate.
        init: every coefficient's first value.
        clamp: whether coefficients are cut to [0, 1] where they are used.
        batch_size: images per task and step.
        adapt_on: the split whose unlabelled images are used.
    """
    return learn_coefficients(
        pool, Asked(pool.layout.floating, pool.vectors), granularity=granularity, init=init, clamp=clamp,
        steps=steps, lr=lr, batch_size=batch_size, adapt_on=adapt_on,
    )  # fmt: skip


@merge_method(
    "adamerging++",
    title="AdaMerging++",
    paper="arXiv:2310.02575",
    needs=Needs(base=True, test_inputs=True, heads=True),
    needs_when={("adapt_on", "calibration"): Needs(base=True, calibration=True, heads=True)},
    year=2023,
    fidelity="released code",
    holds="T experts, 5 models",
    cost="a forward and a backward pass over 16 images a task and step",
    ranges={
        "density": (0.05, 0.5),
        "granularity": ("task", "layer"),
        "lr": (1e-4, 1e-2),
        "init": (0.1, 0.5),
    },
)
def adamerging_plus_plus(
    pool: ModelPool,
    *,
    density: ClosedUnitInterval = 0.2,
    granularity: Literal["task", "layer"] = "layer",
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 1e-3,
    init: float = 0.3,
    clamp: bool = False,
    batch_size: PositiveInt = 16,
    adapt_on: Literal["test", "calibration"] = "test",
) -> StateDict:
    """AdaMerging on task vectors from which TIES has taken what is small and what disagrees.

        tau'_t = tau_t where it is among the vector's largest magnitudes and has the elected sign; else 0
        theta(lambda) = theta_0 + sum_t lambda_t tau'_t,   lambda as in AdaMerging

    The elected sign is that of the sum of the trimmed vectors, entry by entry, as in TIES.
    Source: as AdaMerging; what the defaults follow, and how the authors' code differs, too.

    Args:
        density: fraction of the entries of a task vector that are trimmed to, before the election.
        granularity: one coefficient per task, or per task and parameter tensor.
        steps: Adam steps.
        lr: Adam's rate.
        init: every coefficient's first value.
        clamp: whether coefficients are cut to [0, 1] where they are used.
        batch_size: images per task and step.
        adapt_on: the split whose unlabelled images are used.
    """
    vectors = keep_agreeing(pool.vector, pool.tasks, pool.layout.floating, density)
    return learn_coefficients(
        pool, vectors, granularity=granularity, init=init, clamp=clamp,
        steps=steps, lr=lr, batch_size=batch_size, adapt_on=adapt_on,
    )  # fmt: skip
