"""LOT Merging: in every layer the task vector that moves the experts' features least, in closed form."""

from collections.abc import Callable, Iterator

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.blockwalk import recorded_inputs
from mergebench.merging.layout import Layout, load_part
from mergebench.merging.least_squares import GramSum, LayerRegression
from mergebench.merging.streams import HELD, Shelf
from mergebench.methods.features import is_norm, multiplied

Stage = tuple[tuple[str, ...], Callable[[Tensor], Tensor]]


def stages(encoder: nn.Module, layout: Layout) -> Iterator[Stage]:
    """The forward pass in pieces: (names of the parameters, what it computes) of the embedding, the blocks, the end."""
    chain = layout.chain
    yield layout.embedding, lambda images: chain.embed(encoder, images)
    for block in layout.blocks:
        yield layout.parameters_of(block), encoder.get_submodule(block.name)
    # Features are those that are read: where that is the class token, the others' drift is nobody's.
    read = slice(1) if chain.first_token else slice(None)
    behind = (layout.projection,) if layout.projection else ()
    ending = (*layout.embedding, *layout.final_norm, *behind)  # a pooling layer's own parameters count as embedding
    yield ending, lambda tokens: chain.read(encoder, tokens[:, read])


def as_rows(weight: Tensor) -> Tensor:
    """A layer's weight as what multiplies rows of inputs [out, d]; a scale is one row."""
    return weight.flatten(1) if weight.ndim > 1 else weight[None]


@merge_method(
    "lot_merging",
    title="LOT Merging",
    paper="arXiv:2505.23859",
    needs=Needs(base=True, calibration=True),
    year=2025,
    fidelity="re-derived",
    holds="2 models, 124 tensors",
    cost="one block's Grams; 0.5 GB of tokens at most, more on disk; 1 pass over 64 images a task; a solve a layer",
)
def lot_merging(pool: ModelPool, *, samples: PositiveInt = 64) -> StateDict:
    """Layer by layer the task vector whose features are nearest to all experts', each on its own inputs.

        min_T sum_t ||X_t (T - T_t)||^2,   X_t: the layer's input rows in expert t's own forward pass, T_t = tau_t^T

        linear weight  T = (sum_t X_t^T X_t)^+ sum_t X_t^T X_t T_t
        norm's scale   T = sum_t z_t T_t / sum_t z_t,   z_t: per channel, the sum of squares of the normalised inputs
        bias, shift    T = mean_t T_t (its features do not depend on the inputs)

    The first line is the zero of the gradient, 2 sum_t X_t^T X_t (T - T_t); a scale is a layer whose X is diagonal, a
    bias one whose X is constant. The pseudo-inverse leaves the base's weight along directions that no input takes.
    Norms in front of and behind the blocks count; embeddings get the mean task vector.
    Source: Sun et al., "Towards minimizing feature drift in model merging: layer-wise task vector fusion for adaptive
    knowledge integration"; derived from its objective, with its pseudo-inverse on task vectors.

    Args:
        samples: calibration images per task (16 to 64 in the paper).
    """
    layout, encoder = pool.layout, pool.encoder()
    weights = set(layout.linear_weights)
    layers = {
        n: m for n, m in encoder.named_modules() if isinstance(m, nn.Linear) or is_norm(m) or f"{n}.weight" in weights
    }
    merged = pool.map_names(lambda name: pool.base[name] + pool.vectors(name).mean(0))
    shelf = Shelf(pool.room(HELD))
    streams = {task: shelf.stream() for task in pool.tasks}
    conditions: dict[str, float] = {}
    for parameters, run in stages(encoder, layout):
        here = {n: m for n, m in layers.items() if f"{n}.weight" in parameters and pool.inside(f"{n}.weight")}
        regressions: dict[str, LayerRegression] = {}
        for task in pool.tasks:
            expert = pool.experts[task]
            load_part(encoder, expert, parameters)
            grams: dict[str, GramSum] = {}
            with recorded_inputs(here) as seen, torch.no_grad():
                for i, batch in enumerate(streams[task] or pool.calibration(task, samples)):
                    streams[task].keep(i, run(batch))
                    for name, inputs in seen.items():
                        rows = multiplied(here[name], inputs)
                        grams.setdefault(name, GramSum(rows.shape[-1], pool.device)).add(rows)
            for name, gram in grams.items():
                # Only the diagonal of its Gram acts on a scale, which multiplies every channel by itself.
                alpha = 0.0 if is_norm(here[name]) else 1.0
                base, weight = (as_rows(state[f"{name}.weight"]) for state in (pool.base, expert))
                regressions.setdefault(name, LayerRegression(base, alpha)).add(gram.total(), weight)
        for name, regression in regressions.items():
            key, solution = f"{name}.weight", regression.solve()
            merged[key] = solution.weight.reshape(layout.shapes[key])
            conditions[name] = solution.condition
    pool.report(condition=conditions)
    return pool.finish(merged)
