"""One walk through the blocks that serves RegMean and RegMean++; its steps serve others that solve on activations.

Block by block, each expert's block is run on its stream of tokens, the Gram of every linear layer's inputs is taken,
and the layer's merged weight is solved. What the streams carry is the only difference between the methods:

- source "expert":  each stream has gone through that expert's own blocks (RegMean).
- source "merged":  each stream has gone through the blocks merged so far (RegMean++).

Within a block, granularity "block" runs the expert's own block; "linear" puts every sub-layer already merged in its
place first, so that dependencies inside the block enter as well (an ablation).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mergebench.errors import MergebenchError
from mergebench.merging.activations import patches_of
from mergebench.merging.layout import Block, input_rows, load_part
from mergebench.merging.least_squares import GramSum, LayerRegression, Solution, precision_of
from mergebench.merging.pool import ModelPool
from mergebench.merging.streams import HELD, Shelf, TokenStream
from mergebench.precisions import Precision
from mergebench.weights.states import StateDict

# Tokens that go through a block together, about: what its layers make of them then stays in the processor's cache.
TOKENS_AT_ONCE = 1024

Hook: TypeAlias = Callable[[nn.Module, tuple[Tensor, ...]], None]  # before a layer's forward pass


class _LastInputSeen(Exception):
    """Ends a forward pass: the last layer's input is known, and its output would be thrown away."""


def walk_blocks(
    pool: ModelPool,
    *,
    source: str,
    alpha: float,
    samples: int,
    ridge: float = 0.0,
    granularity: str = "block",
    precision: Precision = "float32",
    final_norm: str = "average",
) -> StateDict:
    """Merge all linear layers of the blocks, and the projection, by regression on their inputs; the rest is averaged.

    Memory does not grow with the number of experts: one regression per linear layer of one block is held at a time,
    and of the token streams no more than `streams.HELD`.

    Args:
        pool: needs `calibration`.
        source: "expert" or "merged"; see above.
        alpha: factor on the Grams' off-diagonal entries; it decides what they are summed in, see `precision_of`.
        samples: calibration images per task.
        ridge: pull towards the average; see `LayerRegression`.
        granularity: "block" or "linear"; see above.
        precision: of the forward passes: "float32" (or finer, as the pool's), or "bfloat16" for the matrix products.
        final_norm: "average", or "base": the merged model's is the base's.

    Returns:
        The merged state. The pool's report gains `condition`: layer -> condition number of its summed Gram; and in
        bfloat16 `forward_error`: block -> relative error of what it adds to some of its tokens.
    """
    layout = pool.layout
    if not layout.linear_weights:
        raise MergebenchError(
            "no layer of this encoder can be solved: it has neither linear ones nor convolutions over all channels "
            "that use their weights as they are"
        )
    merged = pool.average()
    projection = layout.projection if layout.projection and pool.inside(layout.projection) else None
    if final_norm == "base":
        merged.update({n: pool.base[n].to("cpu", layout.dtypes[n]) for n in layout.final_norm})
    runner = pool.encoder()
    (streams,) = embed_tasks(pool, [(runner, merged if source == "merged" else None)], samples, precision)
    images = min(stream.images for stream in streams.values())
    conditions: dict[str, float] = {}
    errors: dict[str, float] = {}
    for index, block in enumerate(layout.blocks):
        pool.tell("blocks", index, len(layout.blocks))
        module = runner.get_submodule(block.name)
        last = index + 1 == len(layout.blocks) and projection is None
        parameters = layout.parameters_of(block)
        rows = rows_an_image(module, block, streams[pool.tasks[0]][0])
        # Outside the region a layer stays the average, so that the merged prefix is what the result will really hold.
        solved = tuple(n for n in rows if pool.inside(f"{n}.weight"))
        groups = [solved] if granularity == "block" else [(name,) for name in solved]
        # Each expert's own block gives the tokens behind it in the pass that its Grams are taken in.
        onward = source == "expert" and granularity == "block" and bool(solved) and not last
        for group in filter(None, groups):
            # A linear layer's average is what its merged weight deviates from, so it is read before it is overwritten.
            averages = {n: layout.matrix(f"{n}.weight", merged[f"{n}.weight"]).to(pool.device) for n in group}
            widths = {n: average.shape[1] for n, average in averages.items()}
            dtypes = {
                n: torch.promote_types(precision_of(alpha, images * rows[n], d), pool.dtype) for n, d in widths.items()
            }
            regressions = {n: LayerRegression(averages[n], alpha, ridge, dtypes[n]) for n in group}
            grams = {n: GramSum(widths[n], pool.device, dtypes[n]) for n in group}
            for task in pool.tasks:
                expert = pool.experts[task]
                load_part(runner, expert if granularity == "block" else merged, parameters)
                if precision != "float32" and block.name not in errors:
                    errors[block.name] = _forward_error(module, streams[task][0], precision)
                _add_grams(module, block, grams, streams[task], onward=onward, precision=precision)
                for name, gram in grams.items():
                    # Where whole blocks are run, the expert's weights lie in the block already.
                    weight = f"{name}.weight"
                    held = runner.get_parameter(weight) if granularity == "block" else expert[weight]
                    regressions[name].add(gram.total(), layout.matrix(weight, held), gram.rows)
                    gram.clear()
            for name, regression in regressions.items():
                solution, weight = regression.solve(), f"{name}.weight"
                merged[weight] = solution.weight.to("cpu", layout.dtypes[weight]).reshape(layout.shapes[weight])
                conditions[name] = solution.condition
        if not last and not onward:
            advance(pool, runner, block, merged if source == "merged" else None, streams, precision)
    if projection is not None:
        own, average = merged if source == "merged" else None, merged[projection]
        solution = _solved_projection(pool, runner, projection, average, own, streams, alpha, ridge, precision)
        merged[projection] = solution.weight.to("cpu", layout.dtypes[projection])
        conditions[projection.removesuffix(".weight")] = solution.condition
    pool.report(condition=conditions, **({"forward_error": errors} if errors else {}))
    return merged


def embed_tasks(
    pool: ModelPool,
    through: Sequence[tuple[nn.Module, StateDict | None]],
    samples: int,
    precision: Precision = "float32",
) -> list[dict[str, TokenStream]]:
    """Tokens of every task's calibration images, which are read once.

    Args:
        pool: needs `calibration`.
        through: the models to send them through, each with the merged weights, or None for every expert's own.
        samples: images per task.
        precision: of the pass.

    Returns:
        For each of `through`: task -> batches of what the first block is fed.
    """
    shelf = Shelf(pool.room(HELD))
    streams = [{task: shelf.stream() for task in pool.tasks} for _ in through]
    at_once = max(1, TOKENS_AT_ONCE // patches_of(through[0][0]))
    for runner, merged in through:
        if merged:
            load_part(runner, merged, pool.layout.embedding)
    for task in pool.tasks:
        for runner, merged in through:
            if not merged:
                load_part(runner, pool.experts[task], pool.layout.embedding)
        with torch.no_grad():
            for images in pool.calibration(task, samples, pieces=at_once):
                for stream, (runner, _) in zip(streams, through, strict=True):
                    with _computing(images, precision):
                        tokens = pool.layout.chain.embed(runner, images)
                    stream[task].append(tokens.to(pool.dtype))
    return streams


def advance(
    pool: ModelPool,
    runner: nn.Module,
    block: Block,
    merged: StateDict | None,
    streams: Mapping[str, TokenStream],
    precision: Precision = "float32",
) -> None:
    """Send every stream through a block: the merged one, or (None) each expert's own; in place."""
    parameters, module = pool.layout.parameters_of(block), runner.get_submodule(block.name)
    if merged:
        load_part(runner, merged, parameters)
    for task, tokens in streams.items():
        if not merged:
            load_part(runner, pool.experts[task], parameters)
        with torch.no_grad():
            for i, batch in enumerate(tokens):
                with _computing(batch, precision):
                    passed = module(batch)
                tokens[i] = passed.to(batch.dtype)


def _solved_projection(
    pool: ModelPool,
    runner: nn.Module,
    name: str,
    average: Tensor,
    merged: StateDict | None,
    streams: Mapping[str, TokenStream],
    alpha: float,
    ridge: float,
    precision: Precision,
) -> Solution:
    """The projection [embed, width], a linear layer behind final norm and pooling: it has one input row an image.

    Args:
        pool, alpha, ridge, precision: as of `walk_blocks`.
        runner: a model to run.
        name: its weight's.
        average: the experts' projections' mean.
        merged: whose final norm feeds it; each expert's own, if None.
        streams: every task's tokens behind the last block.
    """
    layer, ending = name.removesuffix(".weight"), (*pool.layout.embedding, *pool.layout.final_norm)
    width, images = average.shape[1], min(stream.images for stream in streams.values())
    dtype = torch.promote_types(precision_of(alpha, images, width), pool.dtype)
    regression = LayerRegression(average.to(pool.device), alpha, ridge, dtype)
    for task in pool.tasks:
        expert = pool.experts[task]
        load_part(runner, merged or expert, ending)  # a pooling layer's own parameters count as embedding
        gram = GramSum(width, pool.device, dtype)
        with recorded_inputs({name: runner.get_submodule(layer)}) as seen, torch.no_grad():
            for batch in streams[task]:
                with _computing(batch, precision):
                    pool.layout.chain.read(runner, batch)
                gram.add(seen[name])
        regression.add(gram.total(), expert[name], gram.rows)
    return regression.solve()


def _computing(tokens: Tensor, precision: Precision) -> torch.autocast:
    """In which forward passes compute in a precision; their norms and the sums of what blocks add stay the tokens'."""
    return torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _forward_error(module: nn.Module, tokens: Tensor, precision: Precision) -> float:
    """Relative error, in a precision, of what a block adds to tokens [B, N, D].

    Where it makes another shape of them, of all that it makes.
    """
    with torch.no_grad():
        exact = module(tokens)
        with _computing(tokens, precision):
            rounded = module(tokens)
    added = torch.linalg.vector_norm(exact - tokens if exact.shape == tokens.shape else exact).clamp(
        min=torch.finfo(tokens.dtype).tiny
    )
    relative: Tensor = torch.linalg.vector_norm(rounded - exact) / added
    return relative.item()


def _add_grams(
    module: nn.Module,
    block: Block,
    grams: Mapping[str, GramSum],
    stream: TokenStream,
    *,
    onward: bool,
    precision: Precision,
) -> None:
    """Add what layers are fed by all batches of a stream to their Grams.

    Args:
        module: the block.
        block: its names.
        grams: of layers, in the order of the forward pass.
        stream: batches; with `onward` each becomes what the block makes of it.
        onward: whether the pass goes on behind the last layer's input.
        precision: of the pass.
    """
    layers = layers_of(module, block, grams)
    last = [*grams][-1]

    def observe(name: str) -> Hook:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            grams[name].add(input_rows(layers[name], inputs[0]))
            if name == last and not onward:
                raise _LastInputSeen

        return hook

    with _hooks(layers, observe), torch.no_grad():
        for i, batch in enumerate(stream):
            try:
                with _computing(batch, precision):
                    passed = module(batch)
            except _LastInputSeen:
                continue
            stream[i] = passed.to(batch.dtype)


def layers_of(module: nn.Module, block: Block, names: Iterable[str]) -> dict[str, nn.Module]:
    """Layers of a block by their full names."""
    return {name: module.get_submodule(block.inner(name)) for name in names}


def rows_an_image(module: nn.Module, block: Block, batch: Tensor) -> dict[str, int]:
    """Linear layers of a block in the order in which a pass comes to them -> input rows that each has of one image.

    Tokens [B, N, D] of a transformer go through all of a block's layers, in their order; what becomes of maps is seen
    in a pass of one image.

    Args:
        module: the block; its values do not matter.
        block: its names. A layer that a pass does not come to is left out.
        batch: what it is fed.
    """
    if batch.ndim == 3:
        return dict.fromkeys(block.linears, batch.shape[1])
    layers = layers_of(module, block, block.linears)
    rows: dict[str, int] = {}

    def observe(name: str) -> Hook:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows[name] = rows.get(name, 0) + input_rows(layer, inputs[0])[..., 0].numel()

        return hook

    with _hooks(layers, observe), torch.no_grad():
        module(batch[:1])
    return rows


@contextmanager
def recorded_inputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What each module was fed in the last forward pass, by the names that `modules` gives them; updated in place."""
    seen: dict[str, Tensor] = {}

    def observe(name: str) -> Hook:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0]

        return hook

    with _hooks(modules, observe):
        yield seen


@contextmanager
def _hooks(layers: Mapping[str, nn.Module], observe: Callable[[str], Hook]) -> Iterator[None]:
    handles = [layer.register_forward_pre_hook(observe(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
