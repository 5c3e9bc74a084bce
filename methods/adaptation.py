"""What methods that adapt to unlabelled images share: they lower the entropy of the merged model's predictions."""

from collections.abc import Callable, Mapping, Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.func import functional_call

from mergebench import ModelPool, StateDict

# Bytes of activations that are held at once: one pass over several small batches takes half as long as one over each.
ACTIVATIONS = 2**28
HELD = 20  # what a block keeps for its backward pass, in numbers for each of its input: 19 was measured


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean Shannon entropy (nats) of the predictions behind logits [B, C]; a scalar."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean()


def held_by_image(encoder: VisionTransformer) -> int:
    """About how many bytes of activations an image's backward pass needs."""
    tokens = encoder.patch_embed.num_patches + encoder.num_prefix_tokens
    return tokens * encoder.embed_dim * len(encoder.blocks) * HELD * next(encoder.parameters()).element_size()


def in_groups(tasks: Sequence[str], held: int) -> list[Sequence[str]]:
    """Tasks whose images go through the encoder together: as many as `ACTIVATIONS` holds, and no fewer than one.

    Args:
        tasks: names.
        held: bytes of activations of one task's images.
    """
    together = max(1, ACTIVATIONS // held)
    return [tasks[start : start + together] for start in range(0, len(tasks), together)]


def lower_entropy(
    pool: ModelPool,
    start: Mapping[str, Tensor],
    weights: Callable[[], Mapping[str, Tensor]],
    learnt: list[Tensor],
    *,
    steps: int,
    lr: float,
    batch_size: int,
    adapt_on: str,
) -> float:
    """Adam on what the merged weights depend on, so that predictions on unlabelled images become more certain.

        min  sum_t mean_x H(head_t(f_theta(x))),   x unlabelled images of task t

    Args:
        pool: needs `heads`, and the images of `adapt_on`.
        start: a whole state; what `weights` leaves out keeps its value.
        weights: the merged weights at what was learnt so far, differentiable.
        learnt: what they depend on; changed in place.
        steps, lr: of Adam.
        batch_size: images per task and step.
        adapt_on: "test" or "calibration".

    Returns:
        The sum over tasks of the mean entropy at the last step, before its update.
    """
    encoder, heads = pool.encoder(start), pool.heads
    split = "test_inputs" if adapt_on == "test" else "calibration"
    streams = {t: pool.stream(split, t, batch_size) for t in pool.tasks}
    optimizer = torch.optim.Adam(learnt, lr=lr)
    groups = in_groups(pool.tasks, held_by_image(encoder) * batch_size)
    for step in range(steps):
        pool.tell("steps", step, steps)
        merged = dict(weights())
        # Group by group down to the merged weights, and once from there to what is learnt: the activations of one group
        # alone are held, however many tasks there are.
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in merged.items()}
        total = 0
        for group in groups:
            batches = [next(streams[task]) for task in group]
            features = functional_call(encoder, leaves, (torch.cat(batches),)).split([len(b) for b in batches])
            loss = sum(mean_entropy(heads[task](part)) for task, part in zip(group, features, strict=True))
            loss.backward()
            total = total + loss.detach()
        reached = [name for name, leaf in leaves.items() if leaf.grad is not None and merged[name].requires_grad]
        optimizer.zero_grad()
        torch.autograd.backward([merged[name] for name in reached], [leaves[name].grad for name in reached])
        optimizer.step()
    return total.item()  # not at every step, where it would wait for the device


def combine(base: Mapping[str, Tensor], vectors: Mapping[str, Tensor], coefficients: Mapping[str, Tensor]) -> StateDict:
    """theta_0 + sum_t lambda_t tau_t, tensor by tensor.

    Args:
        base: name -> [*shape].
        vectors: name -> task vectors [T, *shape].
        coefficients: name -> lambda [T].
    """
    return {n: base[n] + torch.tensordot(coefficients[n], v, dims=1) for n, v in vectors.items()}


def learn_coefficients(
    pool: ModelPool,
    vectors: Mapping[str, Tensor],
    *,
    granularity: str = "layer",
    init: float,
    clamp: bool = False,
    **adam: int | float | str,
) -> StateDict:
    """The base plus task vectors, with the coefficients that lower the entropy; they are reported.

    Args:
        pool: needs `base`, and what `lower_entropy` needs.
        vectors: name -> task vectors [T, *shape]; parameters that are not among them stay the base's.
        granularity: "task" or "layer", one coefficient per task, or per task and parameter tensor.
        init: every coefficient's first value.
        clamp: whether coefficients count no less than 0 and no more than 1.
        **adam: the settings of `lower_entropy`.

    Returns:
        The merged state.
    """
    base = {n: pool.base[n] for n in vectors}
    rows = len(vectors) if granularity == "layer" else 1
    table = torch.full((rows, len(pool.tasks)), init, dtype=pool.dtype, device=pool.device).requires_grad_()

    def bounded() -> Tensor:
        return table.clamp(0, 1) if clamp else table

    def merged() -> StateDict:
        values = bounded()
        return combine(base, vectors, {n: values[i if granularity == "layer" else 0] for i, n in enumerate(vectors)})

    entropy = lower_entropy(pool, pool.base, merged, [table], **adam)
    with torch.no_grad():
        learnt = bounded()
        pool.report(entropy=entropy, coefficients={t: learnt[:, i] for i, t in enumerate(pool.tasks)})
        return pool.finish({**pool.base, **merged()})
