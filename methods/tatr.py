"""TATR: task arithmetic without the entries in which one task's change is felt most by the others."""

from collections.abc import Iterable
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch import Tensor, nn
from torch.func import functional_call

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.sparsify import entries, ranked, side_by_side


def mean_slopes(encoder: nn.Module, head: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> StateDict:
    """The mean over images of the magnitude of the loss's gradient.

    Args:
        encoder: its parameters are what is differentiated by.
        head: features -> logits [B, C].
        batches: images [B, 3, H, W] and their labels [B].

    Returns:
        Named and shaped as the encoder's parameters.
    """
    parameters = {n: p.detach().requires_grad_() for n, p in encoder.named_parameters()}
    totals, seen = {n: torch.zeros_like(p) for n, p in parameters.items()}, 0
    for images, labels in batches:
        # A batch's gradient would be a mean before it is a magnitude.
        for image, label in zip(torch.split(images, 1), torch.split(labels, 1), strict=True):
            with torch.enable_grad():
                loss = nn.functional.cross_entropy(head(functional_call(encoder, parameters, (image,))), label)
            for name, slope in zip(totals, torch.autograd.grad(loss, list(parameters.values())), strict=True):
                totals[name] += slope.abs()
        seen += len(images)
    return {n: t.div_(seen) for n, t in totals.items()}


@merge_method(
    "tatr",
    title="TATR",
    paper="arXiv:2501.15065",
    needs=Needs(base=True, calibration=True, labels=True, heads=True),
    needs_when={("sensitivity", "changes"): Needs(base=True)},
    year=2025,
    fidelity="paper",
    holds="6 models, T + 4 tensors",
    cost="a backward pass over 128 labelled images a task, one by one",
    ranges={"scaling": (0.1, 1.0), "removed": (0.0, 0.1)},
)
def tatr(
    pool: ModelPool,
    *,
    scaling: float = 0.3,
    removed: ClosedUnitInterval = 0.01,
    samples: PositiveInt = 128,
    sensitivity: Literal["gradients", "changes"] = "gradients",
) -> StateDict:
    """The scaled sum of the task vectors, without the entries that disturb other tasks most.

        g_t = mean_x |d loss_t(x) / d theta|  at theta_0;   Omega = sum_{i != j} g_i |tau_j|
        theta = theta_0 + s [Omega not among its largest, a share r over all parameters] sum_t tau_t

    An entry that one task changes much and another's loss is steep in is where the sum does harm: it stays the base's.
    Source: Sun et al., "Task arithmetic in trust region: a training-free model merging approach to navigate knowledge
    conflicts", section 4. `sensitivity=changes` is its form without data, g_t = |tau_t|.

    Args:
        scaling: s.
        removed: r.
        samples: labelled calibration images per task.
        sensitivity: what g_t is.
    """
    steep: StateDict = {}  # sum_t g_t
    own: StateDict = {}  # sum_t g_t |tau_t|
    heads = pool.heads if sensitivity == "gradients" else {}
    encoder = pool.encoder(pool.base) if heads else None
    for task in pool.tasks:
        if encoder is not None:
            slopes = mean_slopes(encoder, heads[task], pool.labelled_calibration(task, samples))
        else:
            slopes = {name: pool.vector(task, name).abs() for name in pool.layout.floating}
        for name, slope in slopes.items():
            met = slope * pool.vector(task, name).abs()
            steep[name] = steep[name].add_(slope) if name in steep else slope
            own[name] = own[name].add_(met) if name in own else met

    def disturbance(name: str) -> Tensor:
        changes = sum(pool.vector(task, name).abs() for task in pool.tasks)
        return steep[name] * changes - own[name]

    sizes = {name: tensor.numel() for name, tensor in steep.items()}
    count = entries(removed, sum(sizes.values()))
    bar = ranked(side_by_side(disturbance, sizes), sum(sizes.values()) - count) if count else None

    def merged(name: str) -> Tensor:
        total = pool.vectors(name).sum(0)
        if name in steep and bar is not None:  # a buffer has no gradient
            total = torch.where(disturbance(name) >= bar, 0, total)
        return pool.base[name] + scaling * total

    return pool.map_names(merged)
