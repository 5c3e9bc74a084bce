"""ProDistill: block by block, a factor for every entry of every task vector, learnt so that features match."""

from collections.abc import Mapping, Sequence

import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.func import functional_call

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.blockwalk import advance, embed_tasks
from mergebench.merging.layout import load_part
from mergebench.merging.streams import TokenStream


def distance_slopes(
    module: nn.Module, weights: Mapping[str, Tensor], fed: TokenStream, wanted: TokenStream
) -> tuple[Tensor, StateDict]:
    """The mean squared error of what a block gives, and its slopes by the block's weights.

    Args:
        module: the block.
        weights: name inside it -> value.
        fed, wanted: batches [B, N, D] of its inputs, and of what it should make of them.

    Returns:
        The error over all batches, a scalar, and the slopes, named as the weights.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
    slopes = {name: torch.zeros_like(value) for name, value in weights.items()}
    total = next(iter(weights.values())).new_zeros(())
    for tokens, target in zip(fed, wanted, strict=True):
        share = len(tokens) / fed.images
        with torch.enable_grad():
            error = share * (functional_call(module, leaves, (tokens,)) - target).square().mean()
        for name, slope in zip(leaves, torch.autograd.grad(error, list(leaves.values())), strict=True):
            slopes[name] += slope
        total += error.detach()
    return total, slopes


def key_bias(module: nn.Module) -> tuple[str, slice] | None:
    """The name and the entries of a block's key bias, where attention gives the same whatever it is.

    It adds one number to all of a query's scores, which the softmax takes away again.
    """
    attention = getattr(module, "attn", None)
    layer = getattr(attention, "qkv", None)
    if layer is None or layer.bias is None:
        return None
    if not isinstance(getattr(attention, "k_norm", nn.Identity()), nn.Identity):
        return None
    size = layer.out_features // 3
    return "attn.qkv.bias", slice(size, 2 * size)


def distilled(
    module: nn.Module,
    base: StateDict,
    vectors: StateDict,
    streams: Sequence[tuple[TokenStream, TokenStream]],
    *,
    steps: int,
    lr: float,
    init: float,
) -> tuple[StateDict, Tensor]:
    """Adam on a factor for each entry of the task vectors of one block.

    Args:
        module: the block; parameters that are not among the vectors have their values in it.
        base: name inside the block -> theta_0 [*shape].
        vectors: the same names -> task vectors [T, *shape].
        streams: of every task, what the block is fed and what it should give.
        steps, lr: of Adam.
        init: every factor's first value.

    Returns:
        The block's weights, and the sum of the tasks' errors before the first step and after the last [2].
    """
    factors = {name: torch.full_like(vector, init) for name, vector in vectors.items()}
    optimizer = torch.optim.Adam(list(factors.values()), lr=lr, fused=True)

    def merged() -> StateDict:
        return {name: base[name] + (factors[name] * vectors[name]).sum(0) for name in vectors}

    def looked_at(weights: StateDict) -> tuple[Tensor, StateDict]:
        errors, slopes = zip(*(distance_slopes(module, weights, *stream) for stream in streams), strict=True)
        return sum(errors), {name: sum(slope[name] for slope in slopes) for name in vectors}

    idle, errors = key_bias(module), []
    for _ in range(steps):
        error, slopes = looked_at(merged())
        errors.append(error)
        if idle and idle[0] in slopes:
            slopes[idle[0]][idle[1]] = 0  # of what is rounding there Adam would make whole steps
        for name, factor in factors.items():
            factor.grad = slopes[name] * vectors[name]
        optimizer.step()
    weights = merged()
    errors.append(looked_at(weights)[0])
    return weights, torch.stack([errors[0], errors[-1]])


@merge_method(
    "prodistill",
    title="ProDistill",
    paper="arXiv:2502.12706",
    needs=Needs(base=True, calibration=True, blocks=True),
    year=2025,
    fidelity="paper",
    holds="3 models, 40 T tensors, 1 GB",
    cost="0.5 GB of tokens, more on disk; 100 backward passes over 64 images a task, block by block",
    ranges={"lr": (1e-4, 0.1), "scaling": (0.1, 1.0)},
)
def prodistill(
    pool: ModelPool,
    *,
    samples: PositiveInt = 64,
    steps: NonNegativeInt = 100,
    lr: PositiveFloat = 0.01,
    scaling: float = 0.3,
) -> StateDict:
    """Each block's task vectors weighed entry by entry, so that the block does to merged features what experts' do.

        theta^l = theta_0^l + sum_t a_t * tau_t^l;   a minimises  sum_t mean ||f_theta^l(h_t) - f_theta_t^l(e_t)||^2

    h_t are the images of task t behind the blocks merged so far, e_t those behind expert t's own: RegMean++'s two
    streams, with steps of Adam where it solves. Parameters outside the blocks: theta_0 + s sum_t tau_t.
    Source: Xu et al., "Scalable model merging with progressive layer-wise distillation", section 4. A step takes all
    images, as there, where 128 in a batch are more than there are.

    Args:
        samples: unlabelled calibration images per task.
        steps: of Adam, in each block; a step goes once over all images.
        lr: Adam's rate.
        scaling: s, and every a's first value.
    """
    layout, average = pool.layout, pool.average()
    state = {
        name: (pool.base[name] + scaling * pool.vectors(name).sum(0)).to("cpu", layout.dtypes[name])
        if pool.inside(name) and name in layout.floating
        else average[name]
        for name in layout.shapes
    }
    student, expert = pool.encoder(), pool.encoder()
    own, theirs = embed_tasks(pool, [(student, state), (expert, None)], samples)
    errors: StateDict = {}
    for index, block in enumerate(layout.blocks):
        pool.tell("blocks", index, len(layout.blocks))
        parameters = layout.parameters_of(block)
        advance(pool, expert, block, None, theirs)
        load_part(student, state, parameters)
        learnt = [n for n in parameters if pool.inside(n) and n in layout.floating]
        inner = {n: block.inner(n) for n in learnt}
        if learnt:
            found, errors[block.name] = distilled(
                student.get_submodule(block.name),
                {inner[n]: pool.base[n] for n in learnt},
                {inner[n]: pool.vectors(n) for n in learnt},
                [(own[task], theirs[task]) for task in pool.tasks],
                steps=steps,
                lr=lr,
                init=scaling,
            )
            pool.log(index, error_before=errors[block.name][0], error_after=errors[block.name][1])
            state.update({n: found[inner[n]].to("cpu", layout.dtypes[n]) for n in learnt})
        if index + 1 < len(layout.blocks):
            advance(pool, student, block, state, own)
    pool.report(errors=errors)
    return pool.finish(state)
