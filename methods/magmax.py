"""MagMax: of every entry, the change that is largest."""

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method


def largest_changes(vectors: Iterable[Tensor]) -> Tensor:
    """The entry of largest magnitude among the task vectors: T of [*shape] -> [*shape]; of equal ones, the last."""
    return reduce(lambda largest, vector: torch.where(vector.abs() >= largest.abs(), vector, largest), vectors)


@merge_method(
    "magmax",
    title="MagMax",
    paper="arXiv:2407.06322",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="10 tensors",
    cost="no passes",
    ranges={"scaling": (0.1, 1.0)},
)
def magmax(pool: ModelPool, *, scaling: float = 0.5) -> StateDict:
    """Of every entry, the task vectors' value of largest magnitude.

        m = argmax_t |tau_t|, entry by entry;   theta = theta_0 + s tau_m

    Of equal magnitudes the last task's counts, as in the released code: there, and in a sequence here, the last in the
    order of training, elsewhere the last by name.
    Source: Marczak et al., "MagMax: leveraging model merging for seamless continual learning".

    Args:
        scaling: s; 0.5 is what the released code uses on the 8 CLIP tasks.
    """
    return pool.map_names(
        lambda name: pool.base[name] + scaling * largest_changes(pool.vector(t, name) for t in pool.tasks)
    )
