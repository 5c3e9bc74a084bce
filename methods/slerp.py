"""SLERP: from one expert to the other along an arc instead of a straight line."""

from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method

# With a cosine beyond this, of either sign, arc and line are taken to be one.
PARALLEL = 0.9995


def spherical(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """A point on the arc between two tensors of the same shape.

    Args:
        first, second: the ends.
        weight: 0 is the first, 1 the second.
    """
    a, b = first.flatten().double(), second.flatten().double()
    norms = torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)
    # Of a tensor of zeros the direction is unknown: a line too.
    cosine = torch.where(norms > 0, a @ b / norms, 1).item()
    if abs(cosine) > PARALLEL:
        return torch.lerp(first, second, weight)
    angle = torch.arccos(torch.tensor(cosine, dtype=torch.float64))
    parts = torch.sin(torch.stack([(1 - weight) * angle, weight * angle])) / torch.sin(angle)
    return float(parts[0]) * first + float(parts[1]) * second


@merge_method(
    "slerp",
    title="SLERP",
    paper="Shoemake, SIGGRAPH 1985",
    needs=Needs(),
    needs_when={("between", "task_vectors"): Needs(base=True)},
    year=1985,
    fidelity="released code",
    holds="3 tensors",
    cost="no passes",
    idempotent=True,
    experts=2,
    ranges={"weight": (0.0, 1.0)},
)
def slerp(
    pool: ModelPool,
    *,
    weight: ClosedUnitInterval = 0.5,
    between: Literal["weights", "task_vectors"] = "weights",
) -> StateDict:
    """Spherical interpolation of two experts, every parameter tensor by itself.

        theta = sin((1 - w) phi) / sin(phi) theta_1 + sin(w phi) / sin(phi) theta_2,   cos(phi) = cos(theta_1, theta_2)

    and (1 - w) theta_1 + w theta_2 where the two are parallel or opposite, |cos(phi)| > 0.9995, or one of them is zero.
    Source: Shoemake, "Animating rotation with quaternion curves"; its use for merging, with this bound, in mergekit.

    Args:
        weight: w, of the second expert in the order of the tasks' names.
        between: the arc's ends: the experts' weights, or their task vectors (their arc is then added to the base).
    """
    if between == "weights":
        return pool.map_experts(lambda experts: spherical(*experts, weight))
    return pool.map_names(lambda name: pool.base[name] + spherical(*pool.vectors(name), weight))
