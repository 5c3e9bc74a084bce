"""The diagonal Fisher information of a model's predictions, without a gradient for each image and class."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from mergebench import StateDict
from mergebench.methods.squares import Squares
from mergebench.methods.taps import Chain, Step

# Work is cut so that no more than about this is held beside the model: half of it what passes from step to step, half
# what one step's layers are given. One image's and one class's are held at least.
BYTES_AT_ONCE = 2**30
IMAGES_AT_ONCE = 32


def score_roots(logits: Tensor) -> Tensor:
    """For logits [B, C], V [K, B, C] with sum_k V_k V_k^T = sum_y p(y) s_y s_y^T, s_y = d log p(y) / d logits; K < C.

    That is diag(p) - p p^T, whose Cholesky factor has a closed form in p and its tail sums; with the likeliest class
    first, these lose nothing by cancellation.
    """
    p, order = logits.double().softmax(-1).sort(dim=-1, descending=True)
    since = p.flip(-1).cumsum(-1).flip(-1)  # sums from each class on
    head, since, after = p[:, :-1], since[:, :-1].clamp(min=torch.finfo(p.dtype).tiny), since[:, 1:]
    below = torch.where(after > 0, (head / since).sqrt() / after.sqrt(), 0)
    roots = (-below[:, :, None] * p[:, None, :]).triu(1)
    roots.diagonal(dim1=1, dim2=2).copy_((head * after / since).sqrt())
    roots = torch.zeros_like(roots).scatter(2, order[:, None].expand_as(roots), roots)
    return roots.transpose(0, 1).to(logits.dtype)


def condensed(slopes: Tensor) -> Tensor:
    """Gradients [K, B, ...] as no more than there are numbers, with the same sum over K of their outer products."""
    width = slopes.shape[2:].numel()
    if len(slopes) <= width:
        return slopes
    factor: Tensor = torch.linalg.qr(slopes.double().flatten(2).transpose(0, 1), mode="r").R
    return torch.unflatten(factor.transpose(0, 1).to(slopes), 2, slopes.shape[2:])


def per_sample_fisher(
    model: nn.Module, runs: Sequence[Callable[[Tensor], Tensor]], batches: Iterable[Tensor]
) -> StateDict:
    """The diagonal Fisher information of predictions: squared gradients per image and per class.

        F = 1/N sum_x sum_y p(y|x) (d log p(y|x) / d theta)^2

    The inner sum is j^T (diag(p) - p p^T) j, j the logits' derivative, so that any root of that matrix will do for
    the classes; `squares` adds up what a layer's gradients come to.

    Args:
        model: its parameters are what is differentiated by.
        runs: what it does, one after the other: images [B, 3, H, W] -> ... -> logits [B, C]. A parameter is used in one
            of them alone.
        batches: images.

    Returns:
        F, named and shaped as the model's parameters.
    """
    chain, images_seen, steps = Chain(model), 0, list[Step]()
    totals = {n: p.new_zeros(p.shape) for n, p in model.named_parameters()}
    for batch in batches:
        values = batch[:1]
        for run in runs if not steps else ():
            step, values = chain.step(run, values)
            steps.append(step)
        at_once = images_at_once(steps, batch.element_size())
        for images in torch.split(batch, at_once):
            add_images(chain, steps, images, totals)
        images_seen += len(batch)
    return {n: t.div_(images_seen) for n, t in totals.items()}


def images_at_once(steps: Sequence[Step], size: int) -> int:
    """How many images go through the steps together, their numbers being of so many bytes."""
    classes = steps[-1].gives
    # Values kept for a step's backward pass are a few times those that go through it; gradients come in and go out.
    held = size * max(8 * (step.inside + step.gives) + 2 * classes * step.gives for step in steps)
    return min(max(BYTES_AT_ONCE // 2 // held, 1), IMAGES_AT_ONCE)


def add_images(chain: Chain, steps: Sequence[Step], images: Tensor, totals: StateDict) -> None:
    """Add what images [B, 3, H, W] contribute, times N, to the totals: forward in steps, and back."""
    with torch.no_grad():
        values = [images]
        for step in steps:
            values.append(step.run(values[-1]))
        slopes = score_roots(values.pop())
        for step in reversed(steps):
            back = add_step(chain, step, values.pop(), condensed(slopes), totals, first=not values)
            if back is None:  # that was the first step
                break
            slopes = back


def add_step(
    chain: Chain, step: Step, values: Tensor, slopes: Tensor, totals: StateDict, *, first: bool
) -> Tensor | None:
    """Go back through one step, from gradients by what it gives to those by its values (none of the first's).

    Args:
        chain, step, values: see `Chain.pull_back`.
        slopes: [K, B, ...].
        totals: to which the squares of its parameters' gradients are added.
        first: whether it is the first step.

    Returns:
        [K, B, ...].
    """
    pull, inputs = chain.pull_back(step, values, first)
    at_once = max(BYTES_AT_ONCE // 2 // max(slopes.element_size() * len(values) * step.inside, 1), 1)
    squares = {}
    for name, tap in step.taps.items():
        if f"{name}.weight" in totals:
            rows = tap.rows(inputs.pop(name))
            squares[name] = Squares(totals[f"{name}.weight"].flatten(1), rows, len(slopes), at_once)
    back = None if first else slopes.new_empty(len(slopes), *values.shape)
    for number, slope in enumerate(slopes):
        of_taps, of_others, *of_values = pull(slope)
        for name, gradient in of_taps.items():
            by_row = step.taps[name].slopes(gradient)
            if name in squares:
                squares[name].add(by_row)
            if f"{name}.bias" in totals:
                totals[f"{name}.bias"] += by_row.sum(1).square().sum(0)
        for name, gradient in of_others.items():
            totals[name] += gradient.square().sum(0)
        if back is not None:
            back[number] = of_values[0]
    for running in squares.values():
        running.close()
    return back
