"""AdaMerging: merging coefficients learnt by lowering the merged model's prediction entropy."""

from collections.abc import Mapping
from typing import Literal

import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from torch import Tensor
from torch.func import functional_call

from mergebench import ModelPool, Needs, StateDict, merge_method


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean Shannon entropy (nats) of the predictions behind logits [B, C]; a scalar."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean()


def combine(base: Mapping[str, Tensor], vectors: Mapping[str, Tensor], coefficients: Mapping[str, Tensor]) -> StateDict:
    """theta_0 + sum_t lambda_t tau_t, tensor by tensor.

    Args:
        base: name -> [*shape].
        vectors: name -> task vectors [T, *shape].
        coefficients: name -> lambda [T].
    """
    return {n: base[n] + torch.tensordot(coefficients[n], v, dims=1) for n, v in vectors.items()}


@merge_method(
    "adamerging",
    title="AdaMerging",
    paper="arXiv:2310.02575",
    needs=Needs(base=True, test_inputs=True, heads=True),
    needs_when={("adapt_on", "calibration"): Needs(base=True, calibration=True, heads=True)},
)
def adamerging(
    pool: ModelPool,
    *,
    granularity: Literal["task", "layer"] = "layer",
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 1e-3,
    init: float = 0.3,
    batch_size: PositiveInt = 16,
    adapt_on: Literal["test", "calibration"] = "test",
) -> StateDict:
    """Task vectors with coefficients that minimise the entropy of the merged model's predictions.

        theta(lambda) = theta_0 + sum_t lambda_t tau_t,   one lambda per task, or per task and parameter tensor
        min_lambda  sum_t mean_x H(head_t(f_theta(lambda)(x))),   x unlabelled images of task t

    It adapts on images of the test split (without labels) unless told otherwise: that is the published protocol, and
    the leaderboard marks it.
    Source: Yang et al., "AdaMerging", eq. 4 to 7.

    Args:
        granularity: one coefficient per task, or per task and parameter tensor.
        steps: Adam steps.
        lr: Adam's rate.
        init: every coefficient's first value.
        batch_size: images per task and step.
        adapt_on: the split whose unlabelled images are used.
    """
    base = {n: t for n, t in pool.base.items() if t.is_floating_point()}
    vectors = {n: torch.stack([e[n] for e in pool.experts.values()]) - t for n, t in base.items()}
    rows = len(base) if granularity == "layer" else 1
    table = torch.full((rows, len(pool.tasks)), init, dtype=next(iter(base.values())).dtype, device=pool.device)
    table.requires_grad_()

    def coefficients() -> dict[str, Tensor]:
        return {n: table[i if granularity == "layer" else 0] for i, n in enumerate(base)}

    encoder, heads = pool.encoder(pool.base), pool.heads
    split = "test_inputs" if adapt_on == "test" else "calibration"
    streams = {t: pool.stream(split, t, batch_size) for t in pool.tasks}
    optimizer = torch.optim.Adam([table], lr=lr)
    for _ in range(steps):
        batches = [next(streams[t]) for t in pool.tasks]
        # The tasks share the encoder's weights, so one pass over all of them costs what one large batch costs.
        features = functional_call(encoder, combine(base, vectors, coefficients()), (torch.cat(batches),))
        parts = features.split([len(b) for b in batches])
        loss = sum(mean_entropy(heads[t](f)) for t, f in zip(pool.tasks, parts, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learnt = table.detach()
    pool.report(entropy=loss.item(), coefficients={t: learnt[:, i].tolist() for i, t in enumerate(pool.tasks)})
    merged = dict(pool.base.items())
    with torch.no_grad():
        merged.update(combine(base, vectors, coefficients()))
    return pool.finish(merged)
