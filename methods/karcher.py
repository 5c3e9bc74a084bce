"""The Karcher mean: the point on a sphere whose squared distances to the experts, along the sphere, sum to least."""

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method

# Unit vectors whose mean is shorter than this cancel each other.
CANCELLED = 1e-5


def karcher_mean(vectors: Tensor, steps: int) -> Tensor:
    """The mean direction of vectors on the unit sphere, times their mean length.

    Args:
        vectors: [T, n]; those that are zero have no direction, and count in the mean length alone.
        steps: how many, of m <- exp_m(mean_t log_m(u_t)).

    Returns:
        [n].
    """
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    some = lengths > 0
    units = vectors / lengths.where(some, 1)
    weights = some / some.sum().clamp(min=1)
    chord = (weights * units).sum(0)
    # Directions that cancel have no chord's mean to begin at; the first will do.
    begin = torch.where(torch.linalg.vector_norm(chord) > CANCELLED, chord, units[some.int().argmax()])
    mean = normalised(begin)
    for _ in range(steps):
        cosines = (units @ mean).clamp(-1, 1)[:, None]
        away = units - cosines * mean  # of length sin(angle)
        sines = torch.linalg.vector_norm(away, dim=1, keepdim=True)
        # What is opposite has no one way to it, and what is there already none to go.
        ways = torch.where(sines > 0, torch.atan2(sines, cosines) / sines.where(sines > 0, 1), 0)
        step = (weights * ways * away).sum(0)
        angle = torch.linalg.vector_norm(step)
        mean = normalised(torch.cos(angle) * mean + torch.sinc(angle / torch.pi) * step)
    return lengths.mean() * mean


def normalised(vector: Tensor) -> Tensor:
    """A vector [n] over its length; zero stays zero."""
    length: Tensor = torch.linalg.vector_norm(vector)
    return vector / length.where(length > 0, 1)


@merge_method(
    "karcher",
    title="Karcher Mean",
    paper="mergekit's Karcher mean, 2025",
    needs=Needs(),
    year=2025,
    fidelity="released code",
    holds="13 T + 2 tensors",
    cost="10 steps of a few products with each expert; no passes",
    idempotent=True,
)
def karcher(pool: ModelPool, *, steps: PositiveInt = 10) -> StateDict:
    """Of every parameter tensor, the mean of the experts along the sphere, and of their lengths.

        u_t = theta_t / ||theta_t||;   u = argmin_u sum_t arccos(<u, u_t>)^2 on the sphere, by steps along its mean
        theta = mean_t ||theta_t|| u

    A mean in a straight line is shorter than what it is of; of two experts this is SLERP's middle, at their mean
    length.
    Source: mergekit's method of this name, which ends earlier where a step is shorter than 1e-5; the mean is Karcher's,
    "Riemannian center of mass and mollifier smoothing".

    Args:
        steps: how many; each goes to the mean of the directions as they are seen from where it is.
    """

    def merged(experts: Tensor) -> Tensor:
        return karcher_mean(experts.flatten(1).double(), steps).to(experts.dtype).view(experts.shape[1:])

    return pool.map_experts(merged)
