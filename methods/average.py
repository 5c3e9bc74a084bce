"""Averaging of the experts' weights, plain or weighted."""

import math
from collections.abc import Mapping, Sequence

import torch

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.errors import HyperparameterError
from mergebench.methods.task_numbers import in_task_order


def shares(weights: Mapping[str, float] | Sequence[float], tasks: Sequence[str]) -> list[float]:
    """The weights in the order of the tasks, divided by their sum.

    Raises:
        HyperparameterError: a task without weight, a weight without task, or a sum that is not above 0.
    """
    given = in_task_order(weights, tasks, "average: weights")
    total = math.fsum(given)
    if not 0 < total < math.inf:
        raise HyperparameterError(
            f"average: the weights sum to {total:g}, and are divided by that; give weights whose sum is above 0"
        )
    return [weight / total for weight in given]


@merge_method(
    "average",
    title="Simple Averaging",
    paper="arXiv:2203.05482",
    needs=Needs(),
    year=2022,
    fidelity="paper",
    holds="2 tensors",
    cost="weighted, T + 1 tensors; no passes",
    idempotent=True,
)
def average(pool: ModelPool, *, weights: dict[str, float] | list[float] | None = None) -> StateDict:
    """The mean of the experts, parameter by parameter.

        theta = sum_t w_t theta_t / sum_t w_t,   w_t = 1 unless told otherwise

    Source: Wortsman et al., "Model soups", uniform soup.

    Args:
        weights: w_t for every task, below 0 too: a list in the experts' order, or by name; as `weights=[2,1]` or
            `weights={mnist: 2, svhn: 1}` on a command line.
    """
    if weights is None:
        return pool.average()
    parts = shares(weights, pool.tasks)

    def mixed(experts: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = torch.tensordot(experts.new_tensor(parts), experts, dims=1)
        return mean

    return pool.map_experts(mixed)
