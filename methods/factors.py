"""Task matrices as products of two thin ones: a LoRA expert's own factors, or those of a decomposition."""

import torch
from torch import Tensor

from mergebench import ModelPool
from mergebench.methods.spectral import task_matrices, triplets

Pair = tuple[Tensor, Tensor]  # B [m, r] and A [r, n], float64


def factors(pool: ModelPool, name: str) -> list[list[Pair]]:
    """The factors of all tasks' matrices of one parameter: matrix (query, key and value as three) -> task -> (B, A).

    An expert that has none has U S^1/2 and S^1/2 V^T of its task matrix, without what is rounding alone.

    Args:
        pool: needs `base`.
        name: a parameter, of which `layout.is_matrix(name)` holds.
    """
    count = pool.layout.fused.get(name, 1)
    by_task = [_of_task(pool, task, name, count) for task in pool.tasks]
    return [[pairs[part] for pairs in by_task] for part in range(count)]


def _of_task(pool: ModelPool, task: str, name: str, count: int) -> list[Pair]:
    found = pool.low_rank(task, name)
    if found is None:
        states = (pool.layout.matrices(name, state[name]) for state in (pool.base, pool.experts[task]))
        return [_decomposed(base, expert) for base, expert in zip(*states, strict=True)]
    up, down = (factor.double() for factor in found)
    parts = up.chunk(count)
    used = [part.any(0) for part in parts]  # B of a fused matrix is block by block
    return [(part[:, own], down[own]) for part, own in zip(parts, used, strict=True)]


def _decomposed(base: Tensor, expert: Tensor) -> Pair:
    (vector,), rounding = task_matrices(base, expert[None])
    left, values, right = triplets(vector, rounding=rounding._replace(noise=rounding.noise[0]))
    real, root = values > 0, values.sqrt()
    return (left * root)[:, real], (root[:, None] * right)[real]


def side_by_side(tensors: list[Tensor]) -> Tensor:
    """Matrices [m, r_t] in one [m, sum r_t]."""
    return torch.cat(tensors, dim=1)
