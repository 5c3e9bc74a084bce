"""AdaRank: which singular components of the task vectors are merged is learnt by lowering the prediction entropy."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.adaptation import adapt
from mergebench.methods.components import Components, decompose, recombine, shared_slopes, slopes_along
from mergebench.methods.vectors import Asked, TaskVectors

# Scores start this far on either side of zero; about a hundred of Adam's steps at its usual rate take one across.
START = 0.1


def masks_slope(scores: Tensor, temperature: float) -> Tensor:
    """The derivative of sigmoid(score / temperature), which stands in for that of the step that a mask is."""
    soft = (scores / temperature).sigmoid()
    return soft * (1 - soft) / temperature


def first_scores(values: Tensor, share: float) -> Tensor:
    """Scores [T, r] of singular values [T, r] that let the largest through, a share of each task's."""
    scores = torch.full_like(values, -START)
    scores[:, : int(share * values.shape[1])] = START
    return scores


class Gated:
    """theta_c + sum_t lambda_t U_t (m_t S_t) V_t^T: a `Merging` with the masks' straight-through gradients by hand.

    Args:
        names: of all tensors, in the order of the coefficients' rows.
        vectors: those without components.
        centre: theta_c of the matrices.
        parts: the matrices' components.
        table: lambda [tensors, T], changed in place.
        rank, temperature: as `adarank` has them.
    """

    def __init__(
        self,
        names: Sequence[str],
        vectors: TaskVectors,
        centre: Mapping[str, Tensor],
        parts: Mapping[str, Components],
        table: Tensor,
        rank: float,
        temperature: float,
    ) -> None:
        self.table, self._temperature = table, temperature
        self._rows = {name: row for row, name in enumerate(names)}
        self._vectors, self._centre, self._parts = vectors, centre, parts
        # All scores are one tensor, of which each matrix has its columns.
        first = [first_scores(part.values, rank) for part in parts.values()]
        self._flat = torch.cat(first, dim=1) if first else table[:0].T
        columns = torch.split(self._flat, [part.shape[1] for part in first], dim=1)
        self.scores = dict(zip(parts, columns, strict=True))
        self.learnt = [self.table, self._flat]

    def gates(self, name: str) -> Tensor:
        """A matrix's masks [T, r]: 1 where a score is positive, else 0."""
        return (self.scores[name] > 0).to(self.table.dtype)

    def rank(self, name: str) -> Tensor:
        """How many of a matrix's components are in, by task [T]."""
        return self.gates(name).gather(1, self._parts[name].first).sum(1, dtype=torch.int64)

    def write(self, into: Mapping[str, Tensor]) -> Sequence[str]:
        """Merge at the coefficients and masks."""
        for name, row in self._rows.items():
            weights = self.table[row]
            if name in self._parts:
                change = recombine(self._parts[name], weights[:, None] * self.gates(name))
                torch.add(self._centre[name], change.view(into[name].shape), out=into[name])
            else:
                into[name].copy_(self._vectors.merged(name, weights).view(into[name].shape))
        return tuple(self._rows)

    def pull(self, slopes: Mapping[str, Tensor]) -> None:
        """The gradients of coefficients and scores."""
        self.table.grad, self._flat.grad = torch.zeros_like(self.table), torch.zeros_like(self._flat)
        columns = torch.split(self._flat.grad, [s.shape[1] for s in self.scores.values()], dim=1)
        scores = dict(zip(self.scores, columns, strict=True))
        for name, slope in slopes.items():
            row = self._rows[name]
            if name in self._parts:
                along = shared_slopes(self._parts[name], slopes_along(self._parts[name], slope.flatten(1)))
                self.table.grad[row] = (along * self.gates(name)).sum(1)
                scores[name].copy_(along * self.table[row][:, None])
            else:
                self.table.grad[row] = self._vectors.along(name, slope)
        self._flat.grad *= masks_slope(self._flat, self._temperature)


@merge_method(
    "adarank",
    title="AdaRank",
    paper="arXiv:2503.22178",
    needs=Needs(test_inputs=True, heads=True),
    needs_when={
        ("adapt_on", "calibration"): Needs(base=True, calibration=True, heads=True),
        ("centre", "base"): Needs(base=True, test_inputs=True, heads=True),
    },
    year=2025,
    fidelity="released code",
    holds="1.4 T + 6 models",
    cost="an SVD a task and layer; a forward and a backward pass over 16 images a task and step",
    idempotent=True,
    ranges={"centre": ("base", "average"), "init": (0.1, 3.0), "rank": (0.05, 1.0), "lr": (1e-4, 1e-2)},
)
def adarank(
    pool: ModelPool,
    *,
    centre: Literal["base", "average"] = "average",
    init: float = 2.3,
    rank: ClosedUnitInterval = 0.16,
    temperature: PositiveFloat = 10.0,
    steps: PositiveInt = 10000,
    lr: PositiveFloat = 1e-3,
    batch_size: PositiveInt = 16,
    adapt_on: Literal["test", "calibration"] = "test",
) -> StateDict:
    """Low-rank task vectors whose components and coefficients minimise the entropy of the merged model's predictions.

        theta = theta_c + sum_t lambda_t U_t (m_t S_t) V_t^T,   U_t S_t V_t^T = theta_t - theta_c for each linear layer
        m_t = [c_t > 0] per component, with the gradient of sigmoid(c_t / temperature);
        min_(lambda, c)  sum_t mean_x H(head_t(f_theta(x))),   x unlabelled images of task t

    One lambda per task and parameter tensor; parameters other than the linear layers' weights have no components.
    Source: Lee et al., "AdaRank: adaptive rank pruning for enhanced model merging"; formula and settings as in its
    released code on 8 tasks and ViT-B/32, which takes query, key and value as the one matrix that they are stored in.
    Components with equal singular values, of which any basis is a right one, share the first one's score.
    The settings from the average are the defaults; from the base: `centre=base init=0.3 rank=1`.

    Args:
        centre: theta_c, the experts' average (as CART has it) or the base (as task arithmetic).
        init: every coefficient's first value.
        rank: share of each matrix's components, largest first, that are in at the start.
        temperature: of the masks' gradients.
        steps: Adam steps.
        lr: Adam's rate, for coefficients and scores alike.
        batch_size: images per task and step.
        adapt_on: the split whose unlabelled images are used.
    """
    names, matrices = pool.layout.floating, pool.layout.linear_weights
    others = [name for name in names if name not in matrices]

    def change(task: str, name: str) -> Tensor:
        return pool.experts[task][name] - start[name]

    def centre_of(name: str) -> Tensor:
        if centre == "average" and name in names:
            return pool.mean(name)
        return pool.base[name] if name in names else next(iter(pool.experts.values()))[name]

    def parts_of(name: str) -> Components:
        return decompose(Asked(pool.tasks, lambda task: change(task, name).flatten(1)).values())

    start = {name: centre_of(name) for name in pool.layout.dtypes}
    merging = Gated(
        names,
        TaskVectors(start, Asked(others, lambda name: torch.stack([change(task, name) for task in pool.tasks]))),
        start,
        {name: parts_of(name) for name in matrices},
        torch.full((len(names), len(pool.tasks)), init, dtype=pool.dtype, device=pool.device),
        rank,
        temperature,
    )
    entropy, state = adapt(
        pool, start, merging, steps=steps, lr=lr, batch_size=batch_size, adapt_on=adapt_on
    )  # fmt: skip
    pool.report(
        entropy=entropy,
        coefficients={t: merging.table[:, i] for i, t in enumerate(pool.tasks)},
        ranks={t: {n: merging.rank(n)[i] for n in matrices} for i, t in enumerate(pool.tasks)},
    )
    return pool.finish(state)
