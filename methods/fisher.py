"""Fisher merging: a weighted mean in which each expert speaks for the parameters its predictions depend on."""

from collections.abc import Iterable
from typing import Literal

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from mergebench import ModelPool, Needs, StateDict, merge_method

# Added to every Fisher value, as published: what no prediction depends on is averaged with the weights c_t instead of
# divided by zero.
FLOOR = 1e-6
# Gradients, each as large as the model, are held for no more images than this at once, and for as many of their classes
# as make no more bytes than that; but for one image's one class at least.
IMAGES_AT_ONCE = 4
BYTES_AT_ONCE = 2**31


def per_sample_fisher(model: nn.Module, state: StateDict, batches: Iterable[Tensor]) -> StateDict:
    """The diagonal Fisher information of the model's predictions: squared gradients per image and per class.

        F = 1/N sum_x sum_y p(y|x) (d log p(y|x) / d theta)^2

    Args:
        model: images [B, 3, H, W] -> logits [B, C].
        state: the parameters to differentiate by.
        batches: images.

    Returns:
        F, named and shaped as `state`.
    """

    gradients_at_once = BYTES_AT_ONCE // sum(p.nbytes for p in state.values())
    images_at_once = min(max(gradients_at_once // 2, 1), IMAGES_AT_ONCE)
    # Each image's sum over its classes is as large as a gradient.
    classes_at_once = max(gradients_at_once // images_at_once - 1, 1)

    def log_probabilities(parameters: StateDict, image: Tensor) -> Tensor:
        return functional_call(model, parameters, (image[None],))[0].log_softmax(-1)

    def squares(image: Tensor) -> StateDict:
        # One forward pass serves the gradients of all classes; only the weighted squares leave the function.
        log_p, pull_back = vjp(lambda parameters: log_probabilities(parameters, image), state)
        units = torch.eye(len(log_p), dtype=log_p.dtype, device=log_p.device)
        found: StateDict = {}
        for p, rows in zip(log_p.exp().split(classes_at_once), units.split(classes_at_once), strict=True):
            (gradients,) = vmap(pull_back)(rows)
            for name in state:
                part = torch.tensordot(p, gradients.pop(name).square(), dims=1)
                found[name] = found[name] + part if name in found else part
        return found

    totals = {n: torch.zeros_like(p) for n, p in state.items()}
    images_seen = 0
    for batch in batches:
        for images in batch.split(images_at_once):
            for name, value in vmap(squares)(images).items():
                totals[name] += value.sum(0)
        images_seen += len(batch)
    return {n: t / images_seen for n, t in totals.items()}


def batch_fisher(model: nn.Module, state: StateDict, batches: Iterable[Tensor]) -> StateDict:
    """What public code computes: the square of the gradient summed over a batch and its classes.

        F = 1/N sum_batches (d/d theta sum_x sum_y sqrt(p(y|x)) log p(y|x))^2, the root held constant

    Args and returns: as `per_sample_fisher`.
    """
    parameters = {n: p.clone().requires_grad_() for n, p in state.items()}
    totals = {n: torch.zeros_like(p) for n, p in state.items()}
    images_seen = 0
    for batch in batches:
        log_p = functional_call(model, parameters, (batch,)).log_softmax(-1)
        objective = (log_p.detach().exp().sqrt() * log_p).sum()
        for name, gradient in zip(totals, torch.autograd.grad(objective, list(parameters.values())), strict=True):
            totals[name] += gradient.square()
        images_seen += len(batch)
    return {n: t / images_seen for n, t in totals.items()}


@merge_method(
    "fisher",
    title="Fisher Merging",
    paper="arXiv:2111.09832",
    needs=Needs(calibration=True, heads=True),
    year=2021,
    fidelity="paper",
    cost="6 models, and gradients in 2 GiB (or two more models); a backward pass a class over 256 images a task",
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
    estimate = per_sample_fisher if estimator == "per_sample" else batch_fisher
    heads = pool.heads
    weighted: StateDict = {}
    weights: StateDict = {}
    for task in pool.tasks:
        expert = pool.experts[task]
        encoder = pool.encoder(expert)
        for module in encoder.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False  # torch cannot batch the fused kernel's backward over samples
        model = nn.Sequential(encoder, heads[task])
        state = {f"0.{n}": p.detach() for n, p in encoder.named_parameters()}
        information = estimate(model, state, pool.calibration(task, samples))
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(f) for f in information.values()]))
        for key, value in information.items():
            name = key.removeprefix("0.")
            weight = (value + FLOOR) / norm.clamp(min=torch.finfo(norm.dtype).tiny)
            weights[name] = weights.get(name, 0) + weight
            weighted[name] = weighted.get(name, 0) + weight * expert[name]
    # Buffers have no gradient: they are averaged.
    merged = pool.average()
    merged.update({n: weighted[n] / weights[n] for n in weighted})
    return pool.finish(merged)
