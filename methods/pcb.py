"""PCB-Merging: entries compete for their place, within each task vector and between task vectors."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import entries, in_cuts, per_task, ranked, side_by_side

# The released code pulls in this fraction of the smallest magnitudes, and of the largest.
EXTREMES = 0.01
# In place of the sum of the weights where no entry has any.
FLOOR = 1e-12


def magnitude_bounds(pool: ModelPool, task: str, sizes: Mapping[str, int]) -> Tensor:
    """Between which magnitudes the released code keeps a task vector: (low, high); sizes: entries by parameter."""
    magnitudes = side_by_side(lambda name: pool.vector(task, name).abs(), sizes)
    places = entries(EXTREMES, len(magnitudes)), max(0, entries(1 - EXTREMES, len(magnitudes)) - 1)
    return torch.stack([ranked(magnitudes, place) for place in places])


def unit_range(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values [T, *shape] on the scale that has low at 0 and high at 1 (each [T]); 0 where the two are one."""
    span = torch.where(high > low, high - low, torch.inf)
    return (values - per_task(low, values)) / per_task(span, values)


def bounded(vectors: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Task vectors [T, *shape] whose magnitudes are pulled into [low, high] (each [T]); zeros stay zeros."""
    return vectors.sign() * vectors.abs().clamp(per_task(low, vectors), per_task(high, vectors))


def sizes_of(vectors: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How large each entry of the task vectors [T, *shape] is, from 0 to 1; low, high: as `bounded`."""
    magnitudes = vectors.abs().clamp(per_task(low, vectors), per_task(high, vectors))
    return unit_range(magnitudes, low, high)


def signed_sum(vectors: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """What the tasks together want of an entry [*shape]: its sizes in all of them, with their signs."""
    return (vectors.sign() * sizes_of(vectors, low, high)).sum(0)


def released_scores(vectors: Tensor, together: Tensor, tasks: int, low: Tensor, high: Tensor) -> Tensor:
    """The score of every entry of some task vectors in the released code.

    Args:
        vectors: [K, *shape], of K of the tasks.
        together: the `signed_sum` of all tasks.
        tasks: how many they are.
        low, high: as `bounded`, of the K.

    Returns:
        [K, *shape].
    """
    # The code leaves the -1 out, which makes one factor for all of a task's scores, and no room for many tasks.
    within = torch.exp(tasks * (sizes_of(vectors, low, high) ** 2 - 1))
    return within * torch.tanh(vectors * together)


def paper_scores(vectors: Callable[[str], Tensor], names: Sequence[str], tasks: int) -> dict[str, Tensor]:
    """The score of every entry in the paper, up to one factor that is common to all.

    Args:
        vectors: parameter's name -> task vectors [T, *shape].
        names: all parameters: norms and softmaxes run over all of them together.
        tasks: T.

    Returns:
        name -> [T, *shape].
    """
    scores: dict[str, list[Tensor]] = {}
    for task in range(tasks):
        products = {name: (v := vectors(name)) * v[task] for name in names}
        low = torch.stack([p.flatten(1).amin(1) for p in products.values()]).amin(0)
        high = torch.stack([p.flatten(1).amax(1) for p in products.values()]).amax(0)
        # Less 1, which no softmax can tell: from 1/e to 1, whose T-th power stays finite.
        powers = {name: (unit_range(products.pop(name), low, high) - 1).exp_() for name in names}
        within = sum(((p[task] ** tasks).sum() for p in powers.values()), start=low.new_zeros(()))
        between = sum((p.flatten(1).sum(1) for p in powers.values()), start=torch.zeros_like(low))
        # Means instead of sums below the line: a softmax over all parameters is too small for single precision.
        size = sum(p[0].numel() for p in powers.values())
        for name, p in powers.items():
            score = p[task] ** tasks / (within / size) * (p / per_task(between / size, p)).sum(0)
            scores.setdefault(name, []).append(score)
    return {name: torch.stack(rows) for name, rows in scores.items()}


@merge_method(
    "pcb",
    title="PCB-Merging",
    paper="arXiv:2410.02396",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="2 models, T + 4 tensors",
    cost="as in the paper, 2 T + 3 models; no passes",
    ranges={"scaling": (0.6, 2.2), "ratio": (0.02, 0.4)},
)
def pcb(
    pool: ModelPool,
    *,
    scaling: float = 1.2,
    ratio: ClosedUnitInterval = 0.05,
    formula: Literal["released", "paper"] = "released",
) -> StateDict:
    """The mean of the task vectors, weighted entry by entry with scores in which the entries compete.

        theta = theta_0 + s sum_t w_t tau_t / sum_t w_t
        released: b_t = exp(T n_t^2) tanh(tau_t sum_u sign(tau_u) n_u),   n_t = |tau_t|, 0 at its least, 1 at its most
                  w_t = b_t, 0 at its (1 - r)-quantile and below, 1 at its most
        paper:    b_t = softmax(T N(tau_t tau_t)) sum_u softmax(N(tau_t tau_u)),   N: 0 at the least, 1 at the most
                  w_t = b_t among the r largest, else 0

    All of least, most, quantile and softmax are over a task's parameters together. The released code (for CLIP; its
    other scripts differ in tanh's argument) first pulls the 1 % largest and smallest |tau_t| in to the next ones.
    Source: Du et al., "Parameter competition balancing for model merging", and its code for CLIP.

    Args:
        scaling: s; 1.2 is the released code's value.
        ratio: r; 0.05 is the released code's value.
        formula: whose formula.
    """
    names, tasks = pool.layout.floating, len(pool.tasks)
    sizes = {name: math.prod(pool.layout.shapes[name]) for name in names}

    def vectors(name: str) -> Tensor:
        return pool.vectors(name).view(tasks, -1)

    if formula == "paper":
        held = {name: score.view(tasks, -1) for name, score in paper_scores(pool.vectors, names, tasks).items()}

        def scores(name: str, task: int) -> Tensor:
            return held[name][task]

        def change(values: Tensor, score: Tensor, /) -> Tensor:
            share = torch.where(score >= least[:, None], score, 0)
            return scaling * (values * share).sum(0) / share.sum(0).clamp(min=FLOOR)
    else:
        low, high = torch.stack([magnitude_bounds(pool, task, sizes) for task in pool.tasks], dim=1)
        held = {name: in_cuts(lambda cut: signed_sum(cut, low, high), vectors(name)) for name in names}

        def scores(name: str, task: int) -> Tensor:
            vector, some = pool.vector(pool.tasks[task], name).view(1, -1), slice(task, task + 1)

            def of_cut(own: Tensor, together: Tensor) -> Tensor:
                return released_scores(own, together, tasks, low[some], high[some])[0]

            return in_cuts(of_cut, vector, held[name])

        def change(values: Tensor, together: Tensor, /) -> Tensor:
            score = released_scores(values, together, tasks, low, high)
            share = unit_range(score.clamp(min=least[:, None]), least, most)
            return scaling * (bounded(values, low, high) * share).sum(0) / share.sum(0).clamp(min=FLOOR)

    def all_scores(task: int) -> Tensor:
        return side_by_side(lambda name: scores(name, task), sizes)

    ends = []
    for task in range(tasks):
        flat = all_scores(task)
        place = min(entries(1 - ratio, len(flat)), len(flat) - 1)
        ends.append(torch.stack([ranked(flat, place), flat.max()]))
        del flat
    least, most = torch.stack(ends, dim=1)

    def merged(name: str) -> Tensor:
        base = pool.base[name]
        return base + in_cuts(change, vectors(name), held[name]).view(base.shape)

    return pool.map_names(merged)
