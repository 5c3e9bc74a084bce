"""Fisher merging: a weighted mean in which each expert speaks for the parameters its predictions depend on."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn
from torch.func import functional_call

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.chains import chain_of
from mergebench.methods.information import per_sample_fisher

# Added to every Fisher value, as published: what no prediction depends on is averaged with the weights c_t instead of
# divided by zero.
FLOOR = 1e-6


def batch_fisher(encoder: nn.Module, head: nn.Module, batches: Iterable[Tensor]) -> StateDict:
    """What public code computes: the square of the gradient summed over a batch and its classes.

        F = 1/N sum_batches (d/d theta sum_x sum_y sqrt(p(y|x)) log p(y|x))^2, the root held constant

    Args:
        encoder: its parameters are what is differentiated by.
        head: features -> logits [B, C].
        batches: images [B, 3, H, W].

    Returns:
        F, named and shaped as the encoder's parameters.
    """
    parameters = {n: p.detach().requires_grad_() for n, p in encoder.named_parameters()}
    totals = {n: torch.zeros_like(p) for n, p in parameters.items()}
    images_seen = 0
    for batch in batches:
        log_p = head(functional_call(encoder, parameters, (batch,))).log_softmax(-1)
        objective = (log_p.detach().exp().sqrt() * log_p).sum()
        for name, gradient in zip(totals, torch.autograd.grad(objective, list(parameters.values())), strict=True):
            totals[name] += gradient.square()
        images_seen += len(batch)
    return {n: t.div_(images_seen) for n, t in totals.items()}


def forward_steps(encoder: nn.Module, head: nn.Module) -> list[Callable[[Tensor], Tensor]]:
    """An encoder's forward pass and its head's in steps, each of which has parameters of its own."""
    chain = chain_of(encoder)
    embed, read = (partial(step, encoder) for step in (chain.embed, chain.read))
    for module in encoder.modules():
        if hasattr(module, "fused_attn"):
            vars(module)["fused_attn"] = False  # torch cannot batch the fused kernel over images
    return [embed, *map(encoder.get_submodule, chain.blocks), read, head]


@merge_method(
    "fisher",
    title="Fisher Merging",
    paper="arXiv:2111.09832",
    needs=Needs(calibration=True, heads=True),
    year=2021,
    fidelity="paper",
    holds="4 models, 1.1 GB",
    cost="a backward pass a class over 256 images a task",
    idempotent=True,
)
def fisher(
    pool: ModelPool,
    *,
    samples: PositiveInt = 256,
    estimator: Literal["per_sample", "batch"] = "per_sample",
) -> StateDict:
    """The mean of the experts weighted, entry by entry, by their diagonal Fisher information.

        theta = sum_t c_t F_t theta_t / sum_t c_t F_t,   c_t = 1 / ||F_t||,   F_t + 1e-6 in place of F_t in the mean

    F_t is taken on the classes the expert itself predicts, so no labels are read.
    Source: Matena and Raffel, "Merging models with Fisher-weighted averaging", eq. 3 to 5, with their normalisation.

    Args:
        samples: calibration images per task.
        estimator: squares per sample and class (the definition), or of a batch's summed gradient (public code).
    """
    heads = pool.heads
    weighted: StateDict = {}
    weights: StateDict = {}
    for task in pool.tasks:
        expert = pool.experts[task]
        encoder = pool.encoder(expert)
        images = pool.calibration(task, samples)
        if estimator == "batch":
            information = batch_fisher(encoder, heads[task], images)
        else:
            information = per_sample_fisher(encoder, forward_steps(encoder, heads[task]), images)
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(f) for f in information.values()]))
        for name in list(information):
            weight = information.pop(name).add_(FLOOR).div_(norm.clamp(min=torch.finfo(norm.dtype).tiny))
            value = weight * expert[name]
            if name in weights:
                weights[name] += weight
                weighted[name] += value
            else:
                weights[name], weighted[name] = weight, value

    def merged(name: str) -> Tensor:
        if name in weights:
            return weighted.pop(name).div_(weights.pop(name))
        return pool.mean(name)  # a buffer, which has no gradient

    return pool.map_names(merged)
