"""LiNeS: what another method merged, deep layers changed more than shallow ones."""

from typing import Any

import torch
from jsonargparse.typing import NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method, start_from


@merge_method(
    "lines",
    title="LiNeS",
    paper="arXiv:2410.17146",
    needs=Needs(base=True, blocks=True),
    year=2024,
    fidelity="paper",
    holds="1 model, T + 3 tensors",
    cost="what its start costs; no passes of its own",
    ranges={"slope": (0.0, 1.0)},
    starts="start",
)
def lines(
    pool: ModelPool,
    *,
    start: str = "task_arithmetic",
    start_settings: dict[str, Any] | None = None,
    slope: NonNegativeFloat = 0.5,
) -> StateDict:
    """Another method's change, scaled block by block along a line from the mean's size upwards.

        tau = theta_start - theta_0;   f = |sum_t tau_t|_1 / |tau|_1, over all parameters
        theta = theta_0 + f (1 / T + b l / (L - 1)) tau  in block l = 0 ... L - 1, and f tau / T everywhere else

    Shallow layers hold what tasks have in common, and a small change leaves it there; deep layers may follow the tasks.
    f brings the start's change to the size of the sum of the task vectors, so that the start's own scale does not
    matter, to b neither: in the paper, whose starts have the sum's scale or near it, f multiplies 1 / T alone.
    Source: Wang et al., "LiNeS: post-training layer scaling prevents forgetting and enhances model merging", section
    4.2 and equation 5.

    Args:
        start: the method whose change is scaled.
        start_settings: its hyper-parameters; the others have their defaults.
        slope: b; searched by the paper on validation images in (0, 1], of which 0.5 is the middle.
    """
    begun, layout = start_from(pool, start, start_settings), pool.layout
    sizes = torch.zeros(2, dtype=torch.float64, device=pool.device)
    # What lies outside the region will be the average, and must not enter the sizes.
    for name in filter(pool.inside, layout.floating):
        change = begun[name].to(pool.base[name]) - pool.base[name]
        sizes += torch.stack([part.abs().sum(dtype=torch.float64) for part in (pool.vectors(name).sum(0), change)])
    factor = (sizes[0] / sizes[1]).item() if sizes[1] > 0 else 1.0
    steepness = slope / max(len(layout.blocks) - 1, 1)

    def merged(name: str) -> Tensor:
        depth = layout.depth_of(name) or 0
        base = pool.base[name]
        change: Tensor = factor * (1 / len(pool.tasks) + steepness * depth) * (begun[name].to(base) - base)
        return base + change

    state = pool.map_names(merged)
    pool.report(factor=factor)
    return state
