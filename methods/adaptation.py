"""What methods that adapt to unlabelled images share: they lower the entropy of the merged model's predictions."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from mergebench import ModelPool, StateDict
from mergebench.merging.activations import held_activations
from mergebench.methods.forward import features_of
from mergebench.methods.learnt import Coefficients, Merging
from mergebench.methods.vectors import Shifted, TaskVectors

# Bytes of activations that are held at once: one pass over several small batches takes half as long as one over each.
ACTIVATIONS = 2**28


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean Shannon entropy (nats) of the predictions behind logits [B, C]; a scalar."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean()


def in_groups(tasks: Sequence[str], held: int) -> list[Sequence[str]]:
    """Tasks whose images go through the encoder together: as many as `ACTIVATIONS` holds, and no fewer than one.

    Args:
        tasks: names.
        held: bytes of activations of one task's images.
    """
    together = max(1, ACTIVATIONS // held)
    return [tasks[start : start + together] for start in range(0, len(tasks), together)]


def adapt(
    pool: ModelPool,
    start: Mapping[str, Tensor],
    merging: Merging,
    *,
    steps: int,
    lr: float,
    batch_size: int,
    adapt_on: str,
) -> tuple[float, StateDict]:
    """Adam on what the merged weights depend on, so that predictions on unlabelled images become more certain.

        min  sum_t mean_x H(head_t(f_theta(x))),   x unlabelled images of task t

    Args:
        pool: needs `heads`, and the images of `adapt_on`.
        start: a whole state; what the merge does not write keeps its value.
        merging: the merged weights.
        steps, lr: of Adam.
        batch_size: images per task and step.
        adapt_on: "test" or "calibration".

    Returns:
        The sum over tasks of the mean entropy at the last step, before its update; and the whole state after it.
    """
    encoder, heads = pool.encoder(pool.with_statistics(start)), pool.heads
    own = encoder.state_dict(keep_vars=True)
    split: Literal["test_inputs", "calibration"] = "test_inputs" if adapt_on == "test" else "calibration"
    streams = {t: pool.stream(split, t, batch_size) for t in pool.tasks}
    optimizer = torch.optim.Adam(merging.learnt, lr=lr)
    groups = in_groups(pool.tasks, held_activations(encoder) * pool.dtype.itemsize * batch_size)
    # The merged weights are written into the encoder, where no graph sees it: slopes arrive there, group by group, and
    # go on from there once. The activations of one group alone are held, however many tasks there are.
    with torch.no_grad():
        merged = {name: own[name] for name in merging.write(own)}
    for tensor in merged.values():
        tensor.requires_grad_()
    for step in range(steps):
        pool.tell("steps", step, steps)
        total = torch.zeros((), dtype=pool.dtype, device=pool.device)
        for group in groups:
            batches = [next(streams[task]) for task in group]
            features = torch.split(features_of(encoder, torch.cat(batches)), [len(b) for b in batches])
            entropies = (mean_entropy(heads[task](part)) for task, part in zip(group, features, strict=True))
            loss = sum(entropies, start=torch.zeros_like(total))
            torch.autograd.backward(loss)
            total = total + loss.detach()
        pool.log(step, entropy=total)
        with torch.no_grad():
            merging.pull({name: tensor.grad for name, tensor in merged.items() if tensor.grad is not None})
            for tensor in merged.values():
                tensor.grad = None
            optimizer.step()
            merging.write(own)
    # The entropy is read here, and not at every step, where that would wait for the device.
    return total.item(), {name: tensor.detach() for name, tensor in own.items()}


def learn_coefficients(
    pool: ModelPool,
    vectors: Mapping[str, Tensor | Shifted],
    *,
    granularity: str = "layer",
    init: float,
    clamp: bool = False,
    steps: int,
    lr: float,
    batch_size: int,
    adapt_on: str,
) -> StateDict:
    """The base plus task vectors, with the coefficients that lower the entropy; they are reported.

    Args:
        pool: needs `base`, and what `adapt` needs.
        vectors: name -> task vectors [T, *shape], shifted or not; parameters that are not among them stay the base's.
        granularity: "task" or "layer", one coefficient per task, or per task and parameter tensor.
        init: every coefficient's first value.
        clamp: whether coefficients count no less than 0 and no more than 1.
        steps, lr, batch_size, adapt_on: as `adapt` has them.

    Returns:
        The merged state.
    """
    merging = Coefficients(
        TaskVectors(pool.base, vectors), init=init, granularity=granularity, clamp=clamp, pool=pool
    )  # fmt: skip
    entropy, state = adapt(
        pool, pool.base, merging, steps=steps, lr=lr, batch_size=batch_size, adapt_on=adapt_on
    )  # fmt: skip
    pool.report(entropy=entropy, coefficients={t: merging.used[:, i] for i, t in enumerate(pool.tasks)})
    return pool.finish(state)
