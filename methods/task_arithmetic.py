"""Task arithmetic: the scaled sum of task vectors on top of the base."""

from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method


def add_task_vectors(base: Tensor, experts: Tensor, scaling: float) -> Tensor:
    """theta_0 + scaling * sum_t (theta_t - theta_0).

    Args:
        base: [*shape].
        experts: [T, *shape].
        scaling: the common factor.

    Returns:
        [*shape].
    """
    return base + scaling * (experts - base).sum(0)


@merge_method(
    "task_arithmetic",
    title="Task Arithmetic",
    paper="arXiv:2212.04089",
    needs=Needs(base=True),
    ranges={"scaling": (0.05, 1.0)},
)
def task_arithmetic(pool: ModelPool, *, scaling: float = 0.3) -> StateDict:
    """The base plus the scaled sum of the task vectors.

        theta = theta_0 + s sum_t (theta_t - theta_0)

    Source: Ilharco et al., "Editing models with task arithmetic", section 2.

    Args:
        scaling: s; 0.3 is the published value for 8 CLIP tasks.
    """
    return pool.map_tensors(lambda base, experts: add_task_vectors(base, experts, scaling))
