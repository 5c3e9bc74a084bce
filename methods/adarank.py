"""AdaRank: which singular components of the task vectors are merged is learnt by lowering the prediction entropy."""

from typing import Literal, NamedTuple

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.adaptation import lower_entropy
from mergebench.methods.spectral import TIE

# Scores start this far on either side of zero; about a hundred of Adam's steps at its usual rate take one across.
START = 0.1


def straight_through(scores: Tensor, temperature: float) -> Tensor:
    """1 where a score is positive, else 0; the gradient is that of sigmoid(score / temperature)."""
    soft = (scores / temperature).sigmoid()
    return (scores > 0).to(soft.dtype) + (soft - soft.detach())


class Components(NamedTuple):
    """Task matrices as singular triplets, side by side, so that their sum over tasks is one product.

    Args:
        left: [m, T r].
        values: [T, r].
        right: [T r, n].
        first: [T, r], the first component with the same singular value; of equal ones any basis is a right one, so
            they are in or out together, by its score.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    first: Tensor


def decompose(vectors: Tensor) -> Components:
    """Task matrices [T, m, n] as their components."""
    left, values, right = torch.linalg.svd(vectors.double(), full_matrices=False)
    alone = torch.ones_like(values, dtype=torch.bool)
    alone[:, 1:] = -values.diff(dim=1) > TIE * values[:, :1]
    first = (alone * torch.arange(values.shape[1], device=values.device)).cummax(1).values
    left, values, right = (part.to(vectors.dtype) for part in (left, values, right))
    return Components(left.transpose(0, 1).flatten(1), values, right.flatten(0, 1), first)


def recombine(parts: Components, gates: Tensor) -> Tensor:
    """sum_t U_t (g_t S_t) V_t^T, for gates g [T, r], of equal values the first one's: [m, n]."""
    return (parts.left * (gates.gather(1, parts.first) * parts.values).flatten()) @ parts.right


def first_scores(values: Tensor, share: float) -> Tensor:
    """Scores [T, r] of singular values [T, r] that let the largest through, a share of each task's."""
    scores = torch.full_like(values, -START)
    scores[:, : int(share * values.shape[1])] = START
    return scores


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
    cost="2 T + 6 models; an SVD a task and layer; a forward and a backward pass over 16 images a task and step",
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
    experts = list(pool.experts.values())
    names, matrices = pool.layout.floating, set(pool.layout.linear_weights)
    start: StateDict = {n: experts[0][n] for n in pool.layout.dtypes if n not in names}
    held: dict[str, Components | Tensor] = {}
    for name in names:
        stacked = torch.stack([expert[name] for expert in experts])
        start[name] = stacked.mean(0) if centre == "average" else pool.base[name]
        vectors = stacked - start[name]
        held[name] = decompose(vectors) if name in matrices else vectors
    table = torch.full((len(names), len(experts)), init, dtype=pool.dtype, device=pool.device).requires_grad_()
    scores = {n: first_scores(held[n].values, rank).requires_grad_() for n in pool.layout.linear_weights}

    def merged() -> StateDict:
        state = {}
        for name, row in zip(names, table, strict=True):
            if name in scores:
                change = recombine(held[name], row[:, None] * straight_through(scores[name], temperature))
            else:
                change = torch.tensordot(row, held[name], dims=1)
            state[name] = start[name] + change
        return state

    entropy = lower_entropy(
        pool, start, merged, [table, *scores.values()], steps=steps, lr=lr, batch_size=batch_size, adapt_on=adapt_on
    )
    with torch.no_grad():
        ranks = {n: (s > 0).gather(1, held[n].first).sum(1) for n, s in scores.items()}
        pool.report(
            entropy=entropy,
            coefficients={t: table[:, i] for i, t in enumerate(pool.tasks)},
            ranks={t: {n: r[i] for n, r in ranks.items()} for i, t in enumerate(pool.tasks)},
        )
        return pool.finish(start | merged())
