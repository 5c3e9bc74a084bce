"""Localize-and-Stitch without data: each task's largest changes, averaged where several tasks have theirs."""

from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import in_cuts, magnitude_thresholds, trim


def stitched(trimmed: Tensor) -> Tensor:
    """The mean over the tasks that kept an entry, of trimmed vectors [T, ...]: [...]; 0 where none did."""
    return trimmed.sum(0) / (trimmed != 0).sum(0).clamp(min=1)


@merge_method(
    "localize_and_stitch",
    title="Localize-and-Stitch",
    paper="arXiv:2408.13656",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="1 model, 2 T + 2 tensors",
    cost="no passes",
    ranges={"density": (0.01, 0.5)},
)
def localize_and_stitch(pool: ModelPool, *, density: ClosedUnitInterval = 0.1) -> StateDict:
    """Each task vector cut to its largest entries, and these put onto the base, averaged where they overlap.

        m_t = 1 where |tau_t| >= its k-th largest magnitude, k = density n, over all parameters together; else 0
        theta = theta_0 + sum_t m_t tau_t / max(1, sum_t m_t)

    This is the form without data; the paper's own learns the masks on labelled images.
    Source: He et al., "Localize-and-stitch: efficient model merging via sparse task arithmetic", section 3, the
    dataless variant. The released scripts keep 0.1 of the entries in one place and 0.05 in another.

    Args:
        density: fraction of the entries of a task vector to keep.
    """
    bars = magnitude_thresholds(pool.vector, pool.tasks, pool.layout.floating, density)

    def merged(name: str) -> Tensor:
        vectors = pool.vectors(name)
        size = len(vectors)
        mean = in_cuts(lambda cut: stitched(trim(cut, bars)), vectors.view(size, -1))
        return pool.base[name] + mean.view(vectors.shape[1:])

    return pool.map_names(merged)
