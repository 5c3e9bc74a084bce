"""Task arithmetic: the scaled sum of task vectors on top of the base."""

import torch
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.task_numbers import in_task_order


def add_task_vectors(base: Tensor, vectors: Tensor, scaling: float) -> Tensor:
    """theta_0 + scaling * sum_t tau_t.

    Args:
        base: [*shape].
        vectors: [T, *shape].
        scaling: the common factor.

    Returns:
        [*shape].
    """
    return base + scaling * vectors.sum(0)


@merge_method(
    "task_arithmetic",
    title="Task Arithmetic",
    paper="arXiv:2212.04089",
    needs=Needs(base=True),
    year=2022,
    fidelity="paper",
    holds="2 T + 3 tensors",
    cost="no passes",
    ranges={"scaling": (0.1, 1.0)},
)
def task_arithmetic(pool: ModelPool, *, scaling: float | dict[str, float] | list[float] = 0.3) -> StateDict:
    """The base plus the scaled sum of the task vectors.

        theta = theta_0 + s sum_t (theta_t - theta_0);   sum_t s_t (theta_t - theta_0), where each has its own

    Source: Ilharco et al., "Editing models with task arithmetic", section 2.

    Args:
        scaling: s; 0.3 is the published value for 8 CLIP tasks. Or s_t for every task: a list in the experts' order,
            or by name, as `scaling={mnist: 0.3, svhn: -0.5}` on a command line. What is below 0 is taken away.
    """
    if not isinstance(scaling, float):
        factors = in_task_order(scaling, pool.tasks, "task_arithmetic: scaling")

        def combined(base: Tensor, experts: Tensor) -> Tensor:
            change: Tensor = torch.tensordot(experts.new_tensor(factors), experts - base, dims=1)
            return base + change

        return pool.map_tensors(combined)
    return pool.map_names(lambda name: add_task_vectors(pool.base[name], pool.vectors(name), scaling))
