"""SLERP and NuSLERP: from one expert to the other along an arc instead of a straight line."""

from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method

# With a cosine beyond this, of either sign, arc and line are taken to be one.
PARALLEL = 0.9995
# As is a sine below this by NuSLERP.
STRAIGHT = 1e-8


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
        return pool.map_experts(lambda experts: spherical(experts[0], experts[1], weight))

    def merged(name: str) -> Tensor:
        first, second = pool.vectors(name)
        return pool.base[name] + spherical(first, second, weight)

    return pool.map_names(merged)


def spherical_rows(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Points on the arcs between the rows of two matrices [m, n], which keep their own lengths: [m, n]."""
    a, b = first.double(), second.double()
    lengths = [torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (a, b)]
    product = lengths[0] * lengths[1]
    # Of a row of zeros the direction is unknown: a line too.
    cosine = torch.where(product > 0, (a * b).sum(1, keepdim=True) / product.where(product > 0, 1), 1).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = sine < STRAIGHT
    sine = sine.where(~straight, 1)
    shares = [
        torch.where(straight, line, torch.sin(line * angle) / sine).to(first.dtype) for line in (1 - weight, weight)
    ]
    return shares[0] * first + shares[1] * second


@merge_method(
    "nuslerp",
    title="NuSLERP",
    paper="mergekit's NuSLERP, 2024",
    needs=Needs(),
    needs_when={("between", "task_vectors"): Needs(base=True)},
    year=2024,
    fidelity="released code",
    holds="12 tensors",
    cost="no passes",
    idempotent=True,
    experts=2,
    ranges={"weight": (0.0, 1.0), "along": ("tensors", "rows", "columns")},
)
def nuslerp(
    pool: ModelPool,
    *,
    weight: ClosedUnitInterval = 0.5,
    along: Literal["tensors", "rows", "columns"] = "tensors",
    between: Literal["weights", "task_vectors"] = "weights",
) -> StateDict:
    """Spherical interpolation of two experts, of whole tensors or of their rows or columns one by one.

        v = (sin((1 - w) phi) v_1 + sin(w phi) v_2) / sin(phi),   cos(phi) = cos(v_1, v_2)

    and (1 - w) v_1 + w v_2 where sin(phi) < 1e-8, or one of the two is zero: SLERP with a bound that hardly anything
    meets, and the choice of what is a vector. Tensors of one dimension are one vector, kernels have a row an output.
    Source: mergekit's method of this name, whose `weight` of two models w_1 and w_2 is w = w_2 / (w_1 + w_2) here, and
    whose `nuslerp_flatten: false` is `along=rows`, or `along=columns` together with `nuslerp_row_wise: true`.

    Args:
        weight: w, of the second expert in the order of the tasks' names.
        along: what is a vector.
        between: the arc's ends: the experts' weights, or their task vectors (their arc is then added to the base).
    """

    def between_two(first: Tensor, second: Tensor) -> Tensor:
        shape = first.squeeze().shape
        rows = 1 if along == "tensors" or len(shape) < 2 else shape[0]
        one, two = first.reshape(rows, -1), second.reshape(rows, -1)
        if along == "columns" and rows > 1:
            return spherical_rows(one.T, two.T, weight).T.reshape(first.shape)
        return spherical_rows(one, two, weight).view(first.shape)

    if between == "weights":
        return pool.map_experts(lambda experts: between_two(*experts))
    return pool.map_names(lambda name: pool.base[name] + between_two(*pool.vectors(name)))
