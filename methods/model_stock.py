"""Model Stock: between the base and the experts' average, as far as the experts agree in direction."""

import torch
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method


def mean_cosine(vectors: Tensor) -> Tensor:
    """The mean cosine over all pairs of task vectors [T, n]; a vector of zeros makes right angles; 1 for T = 1."""
    tasks = len(vectors)
    if tasks == 1:
        return vectors.new_ones(())
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    directions = torch.where(norms > 0, vectors / norms, 0)
    gram = directions @ directions.T
    return (gram.sum() - gram.trace()) / (tasks * (tasks - 1))


def ratio(cosine: Tensor, tasks: int) -> Tensor:
    """How far to go from the base to the average: T cos / (1 + (T - 1) cos), 0 where the cosine is negative."""
    cosine = cosine.clamp(0, 1)
    return tasks * cosine / (1 + (tasks - 1) * cosine)


@merge_method(
    "model_stock",
    title="Model Stock",
    paper="arXiv:2403.19522",
    needs=Needs(base=True),
    year=2024,
    fidelity="paper",
    holds="3 T + 2 tensors",
    cost="no passes",
    idempotent=True,
)
def model_stock(pool: ModelPool) -> StateDict:
    """The experts' average drawn towards the base, the more, the wider the angle between task vectors.

        theta = t mean_t theta_t + (1 - t) theta_0,   t = T cos / (1 + (T - 1) cos), for every parameter tensor

    For T > 2 the paper has one angle for all pairs; here cos is the mean over the pairs. Where it is negative, t would
    point away from the experts or be without bound: t = 0, the base. One expert alone comes back (t = 1), and so do
    copies. A task vector of zeros counts as orthogonal to the others. All t are reported.
    Source: Jang et al., "Model Stock: all we need is just a few fine-tuned models".
    """
    ratios: dict[str, Tensor] = {}

    def merged(name: str) -> Tensor:
        vectors = pool.vectors(name)
        share = ratio(mean_cosine(vectors.flatten(1)), len(vectors))
        ratios[name] = share
        return pool.base[name] + share * vectors.mean(0)

    state = pool.map_names(merged)
    pool.report(ratios=dict(zip(ratios, torch.stack([*ratios.values()]).tolist(), strict=True)))
    return state
