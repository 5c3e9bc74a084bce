"""Experts' tensors in one stack with others: as a list beside the stack they would be held twice."""

from collections.abc import Sequence

from torch import Tensor

from mergebench import ModelPool


def with_experts(pool: ModelPool, name: str, *others: Tensor, tasks: Sequence[str] | None = None) -> Tensor:
    """Tensors [*shape] and the experts' below them [K + T, *shape], read one by one, in the order of tasks."""
    tasks = pool.tasks if tasks is None else tasks
    stack = others[0].new_empty(len(others) + len(tasks), *others[0].shape)
    for row, other in zip(stack, others, strict=False):
        row.copy_(other)
    for row, task in zip(stack[len(others) :], tasks, strict=True):
        row.copy_(pool.experts[task][name])
    return stack
