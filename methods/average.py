"""Averaging of the experts' weights, plain or weighted."""

import math
from collections.abc import Mapping, Sequence

import torch

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.errors import HyperparameterError


def shares(weights: Mapping[str, float], tasks: Sequence[str]) -> list[float]:
    """The weights in the order of the tasks, divided by their sum.

    Raises:
        HyperparameterError: a task without weight, a weight without task, one that is no number from 0, or all zero.
    """
    for task in weights:
        if task not in tasks:
            raise HyperparameterError(f"average: weights name {task!r}, which is not merged; name {', '.join(tasks)}")
        if weights[task] < 0:
            raise HyperparameterError(f"average: the weight of {task!r} is {weights[task]}; give a number from 0")
    for task in tasks:
        if task not in weights:
            raise HyperparameterError(f"average: weights lack {task!r}; give it one, 0 to leave it out")
    total = math.fsum(weights.values())
    if not 0 < total < math.inf:
        raise HyperparameterError(f"average: the weights sum to {total:g}; give at least one task more than 0")
    return [weights[task] / total for task in tasks]


@merge_method(
    "average",
    title="Simple Averaging",
    paper="arXiv:2203.05482",
    needs=Needs(),
    year=2022,
    fidelity="paper",
    cost="T + 1 tensors at a time; no passes",
    idempotent=True,
)
def average(pool: ModelPool, *, weights: dict[str, float] | None = None) -> StateDict:
    """The mean of the experts, parameter by parameter.

        theta = sum_t w_t theta_t / sum_t w_t,   w_t = 1 unless told otherwise

    Source: Wortsman et al., "Model soups", uniform soup.

    Args:
        weights: task -> w_t, from 0, for every task; as `weights={mnist: 2, svhn: 1}` on a command line.
    """
    if weights is None:
        return pool.map_experts(lambda experts: experts.mean(0))
    parts = shares(weights, pool.tasks)

    def mixed(experts: torch.Tensor) -> torch.Tensor:
        return torch.tensordot(experts.new_tensor(parts), experts, dims=1)

    return pool.map_experts(mixed)
