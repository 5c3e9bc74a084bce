"""Experts' tensors in one stack with others: as a list beside the stack they would be held twice."""

from torch import Tensor

from mergebench import ModelPool


def with_experts(pool: ModelPool, name: str, *others: Tensor) -> Tensor:
    """Tensors [*shape] and the experts' below them [K + T, *shape], which are read one by one."""
    stack = others[0].new_empty(len(others) + len(pool.tasks), *others[0].shape)
    for row, other in zip(stack, others, strict=False):
        row.copy_(other)
    for row, expert in zip(stack[len(others) :], pool.experts.values(), strict=True):
        row.copy_(expert[name])
    return stack
