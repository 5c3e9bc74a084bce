"""FeatCal: a merged model whose layers are calibrated, first to last, so that its features come near the experts'."""

from collections.abc import Mapping
from typing import Any

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from mergebench import ModelPool, Needs, StateDict, merge_method, start_from
from mergebench.merging.blockwalk import advance, embed_tasks, recorded_inputs
from mergebench.merging.layout import Block, input_rows, is_linear, load_part
from mergebench.merging.streams import TokenStream
from mergebench.methods.features import (
    LinearCalibration,
    NormCalibration,
    Sums,
    channel_sums,
    is_norm,
    multiplied,
    pair_sums,
)

# Rows of a layer that are solved together, and what the tokens weigh [N] in that.
Part = tuple[slice, Tensor]


def settled(pool: ModelPool, state: Mapping[str, Tensor], name: str) -> bool:
    """Whether a parameter of the start is every expert's own, as one is that fine-tuning left alone."""
    return all(torch.equal(expert[name], state[name].to(expert[name])) for expert in pool.experts.values())


def parts_of(
    pool: ModelPool, state: Mapping[str, Tensor], block: Block, module: nn.Module, weights: Tensor
) -> dict[str, list[Part]]:
    """The linear layers and norms of a block that are to be merged, by name inside it, in parts.

    A layer is one part, but for keys and values, which are made of every token, whichever are read afterwards. A layer
    is left out whose weight is settled, and a norm of which anything is.
    """
    shapes = pool.layout.shapes
    parts: dict[str, list[Part]] = {}
    for name, layer in module.named_modules():
        own = {f"{block.prefix}{name}.{n}" for n in ("weight", "bias")} & shapes.keys()
        solvable = is_linear(layer) or (is_norm(layer) and len(own) == 2)
        if not solvable or not all(map(pool.inside, own)):
            continue
        if any(settled(pool, state, n) for n in own if is_norm(layer) or n.endswith(".weight")):
            continue
        parts[name] = [(slice(None), weights)]
        if name == "attn.qkv":
            queries = layer.out_features // 3
            parts[name] = [(slice(queries), weights), (slice(queries, None), torch.ones_like(weights))]
    return parts


def batch_sums(module: nn.Module, student: Tensor, expert: Tensor, weights: Tensor) -> Sums:
    """What a layer's calibration takes of a batch of its inputs in both models."""
    if is_norm(module):
        return channel_sums(multiplied(module, student), weights)
    return pair_sums(input_rows(module, student), input_rows(module, expert), weights)


def task_sums(
    student: nn.Module, expert: nn.Module, own: TokenStream, theirs: TokenStream, parts: dict[str, list[Part]]
) -> list[Sums]:
    """The sums of every part over a task's batches; the expert's tokens go on through its block, in place.

    Args:
        student, expert: the block in both models.
        own, theirs: tokens in front of it, in both.
        parts: a layer's name inside the block -> its parts.
    """
    layers = {n: student.get_submodule(n) for n in parts}
    sums: list[Sums] = []
    with (
        recorded_inputs(layers) as fed,
        recorded_inputs({n: expert.get_submodule(n) for n in parts}) as taught,
        torch.no_grad(),
    ):
        for i, tokens in enumerate(own):
            student(tokens)
            theirs[i] = expert(theirs[i])
            new = [batch_sums(layers[n], fed[n], taught[n], weights) for n in parts for _, weights in parts[n]]
            sums = [tuple(map(torch.add, *pair)) for pair in zip(sums, new, strict=True)] if sums else new
    return sums


def rows_of(state: Mapping[str, Tensor], name: str, rows: slice) -> tuple[Tensor, Tensor | None]:
    """Some rows of a layer's weight, as a matrix or a vector, and of its bias."""
    weight, bias = state[f"{name}.weight"][rows], f"{name}.bias"
    return weight.flatten(1) if weight.ndim > 1 else weight, state[bias][rows] if bias in state else None


def solver_of(weight: Tensor, bias: Tensor | None, ridge: float, teacher: float) -> LinearCalibration | NormCalibration:
    """The calibration of a part whose anchor is this."""
    if weight.ndim == 1:
        assert bias is not None  # a norm that is to be solved has both
        return NormCalibration(weight, bias, ridge=ridge)
    return LinearCalibration(weight, bias, ridge=ridge, teacher=teacher)


@merge_method(
    "featcal",
    title="FeatCal",
    paper="arXiv:2605.13030",
    needs=Needs(base=True, calibration=True, blocks=True),
    needs_when={("anchor", 1.0): Needs(calibration=True, blocks=True)},
    year=2026,
    fidelity="released code",
    holds="2 models, 162 tensors",
    cost="one block's moments; 0.5 GB of tokens, more on disk; 3 passes over 256 images a task; a solve a layer",
    ranges={"ridge": (0.001, 1.0), "anchor": (1.0, 3.0), "teacher": (0.0, 1.0)},
    starts="start",
)
def featcal(
    pool: ModelPool,
    *,
    start: str = "task_arithmetic",
    start_settings: dict[str, Any] | None = None,
    ridge: NonNegativeFloat = 0.05,
    anchor: float = 2.2,
    teacher: ClosedUnitInterval = 0.25,
    patch_weight: ClosedUnitInterval = 0.01,
    samples: PositiveInt = 256,
) -> StateDict:
    """Block by block, every layer solved to give on the merged model's features what the experts give on their own.

    On the same images of task t, s are a layer's inputs in the student, the model calibrated so far, and e_t those in
    expert t; x_t = alpha e_t + (1 - alpha) s; E_t: the mean over tokens; c_t = 1 / ||E_t s s^T||; W_0, b_0: anchors.

        W  minimises  sum_t c_t E_t ||W s - W_t x_t||^2 + lambda ||W - W_0||^2, so
           (sum_t c_t E_t s s^T + lambda I) W^T = sum_t c_t (E_t s x_t^T) W_t^T + lambda W_0^T
        b  = (sum_t c_t E_t (b_t + W_t x_t - W s) + lambda b_0) / (sum_t c_t + lambda)
        g, h  minimise  sum_t E_t ||g z + h - g_t z - h_t||^2 + lambda (||g - g_0||^2 + ||h - h_0||^2),
           z the student's normalised inputs, g and h a norm's scale and shift: two unknowns a channel

    An anchor is theta_0 + rho (theta_start - theta_0). Where only the class token of the last block is read, other
    tokens weigh `patch_weight` in that block (keys and values excepted). What lies in front of and behind the blocks
    stays the start's, and so does a parameter that is the same in the start and all experts: it was not fine-tuned.
    Source: Gu et al., "FeatCal: feature calibration for post-merging models", section 4, appendices F to H, as its
    released code computes it; the paper states rho = 2 and alpha = 0.3, the code behind its figures 2.2 and 0.25.

    Args:
        start: the method whose result is calibrated.
        start_settings: that method's hyper-parameters, where they are not its defaults.
        ridge: lambda.
        anchor: rho; 1 holds on to the start, and the base is not read.
        teacher: alpha.
        patch_weight: see above; 1 treats all tokens alike.
        samples: calibration images per task.
    """
    layout = pool.layout
    begun = start_from(pool, start, start_settings)
    # Outside the region a parameter is the average, and so it must be for those that are solved behind it.
    average = pool.average()
    state = {n: begun[n] if pool.inside(n) else average[n] for n in layout.shapes}
    student, expert = pool.encoder(), pool.encoder()
    own, theirs = embed_tasks(pool, [(student, state), (expert, None)], samples)

    def anchored(name: str) -> Tensor:
        started = state[name].to(pool.device, pool.dtype)
        return started if anchor == 1 else torch.lerp(pool.base[name], started, anchor)

    conditions: dict[str, float] = {}
    for index, block in enumerate(layout.blocks):
        pool.tell("blocks", index, len(layout.blocks))
        last = index + 1 == len(layout.blocks)
        weights = torch.ones(1, device=pool.device)  # of each token alike
        if last and layout.chain.first_token:
            weights = torch.full((own[pool.tasks[0]][0].shape[1],), patch_weight, device=pool.device)
            weights[0] = 1
        mine, taught = (model.get_submodule(block.name) for model in (student, expert))
        parts = parts_of(pool, state, block, mine, weights)
        flat = [(f"{block.prefix}{name}", rows) for name in parts for rows, _ in parts[name]]
        parameters = layout.parameters_of(block)
        kept = {n for n in parameters if n.endswith(".bias") and settled(pool, state, n)}
        anchors = {n: anchored(n) for n in parameters if n in layout.floating}
        solvers = [solver_of(*rows_of(anchors, *part), ridge, teacher) for part in flat]
        load_part(student, state, parameters)
        for task in pool.tasks:
            load_part(expert, pool.experts[task], parameters)
            sums = task_sums(mine, taught, own[task], theirs[task], parts)
            for part, solver, taken in zip(flat, solvers, sums, strict=True):
                solver.add(taken, *rows_of(pool.experts[task], *part))
        for (name, rows), solver in zip(flat, solvers, strict=True):
            weight, bias, condition = solver.solve()
            held = state[f"{name}.weight"][rows]
            held.copy_(weight.view(held.shape))
            if bias is not None and f"{name}.bias" not in kept:
                state[f"{name}.bias"][rows] = bias.to(state[f"{name}.bias"])
            conditions[name] = max(conditions.get(name, 0.0), condition)
        if not last:
            advance(pool, student, block, state, own)
    pool.report(condition=conditions)
    return pool.finish(state)
