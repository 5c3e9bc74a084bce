"""ESM: what experts' outputs move by decides which directions of their task matrices are merged."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.blockwalk import embed_tasks, recorded_inputs
from mergebench.merging.layout import input_rows, load_part
from mergebench.merging.least_squares import GramSum
from mergebench.merging.streams import TokenStream
from mergebench.methods.decomposition import singular_triplets
from mergebench.methods.iso import flattened_sum
from mergebench.methods.spectral import by_matrix, task_matrices
from mergebench.methods.stacks import with_experts
from mergebench.methods.tsv_m import decorrelated_sum

# How much louder large tasks, columns and layers become: by this power of their norm over the mean one.
LOUDER = 2
# How much more the leading directions of a task count: by this power of their variance over the mean one.
LEADING = 0.15


class Essential(NamedTuple):
    """One task's matrix in the directions that its outputs move along.

    Args:
        columns: [m, k], the directions, each times its weight.
        rows: [k, n], what the matrix has along them, each times the same weight.
        size: norm of the whole matrix.
    """

    columns: Tensor
    rows: Tensor
    size: Tensor


def output_directions(vector: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Along which directions a task matrix moves a layer's outputs, and how much of their squares is along each.

    Args:
        vector: [m, n], float64.
        gram: X^T X [n, n] of the layer's inputs.

    Returns:
        The right singular vectors of X vector^T, columns of [m, k], k = min(m, n), and their squared values [k],
        falling; what is rounding is 0.
    """
    if len(vector) <= len(gram):
        values, directions = torch.linalg.eigh(vector @ gram @ vector.T)
        values, directions = values.flip(0), directions.flip(1)
    else:
        powers, axes = torch.linalg.eigh(gram)
        directions, values, _ = singular_triplets(vector @ (axes * powers.clamp(min=0).sqrt()))
        values = values.square()
    real = values > values[:1] * len(gram) * torch.finfo(gram.dtype).eps
    return directions, values * real


def essential_part(vector: Tensor, gram: Tensor, count: int) -> Essential:
    """A task matrix [m, n] cut to so many of the directions that its outputs move along, the leading ones weighed more.

    Args:
        vector: [m, n], float64.
        gram: X^T X [n, n] of its inputs.
        count: how many; those in which nothing moves are among them, and weigh nothing.
    """
    directions, values = output_directions(vector, gram)
    directions, values = directions[:, :count], values[:count]
    mean = values.sum() / count
    weights = (values / mean.where(mean > 0, 1)).pow(LEADING)
    total = weights.sum()
    weights = weights * count / total.where(total > 0, 1)
    return Essential(directions * weights, weights[:, None] * (directions.T @ vector), torch.linalg.matrix_norm(vector))


def louder(norms: Tensor) -> Tensor:
    """By what each of some norms [k] makes its own louder: its square over that of their mean."""
    mean = norms.mean()
    return (norms / mean.where(mean > 0, 1)) ** LOUDER


def joined(parts: Sequence[Essential]) -> Tensor:
    """The tasks' essential parts as one matrix [m, n]."""
    factors = louder(torch.stack([part.size for part in parts]))
    rows = torch.cat([factor * part.rows for factor, part in zip(factors, parts, strict=True)])
    rows = rows * louder(torch.linalg.vector_norm(rows, dim=0))
    columns = torch.cat([part.columns for part in parts], dim=1)
    return 2 * flattened_sum(columns[None]) @ flattened_sum(rows[None])


def louder_by_depth(deltas: Mapping[str, Tensor], kinds: Sequence[Sequence[str]]) -> StateDict:
    """Deltas scaled, layers of one kind among each other, by how their norms compare with the mean over depth."""
    scaled = dict(deltas)
    for names in kinds:
        factors = louder(torch.stack([torch.linalg.vector_norm(deltas[name]) for name in names]))
        scaled |= {name: deltas[name] * factor for name, factor in zip(names, factors, strict=True)}
    return scaled


def input_grams(module: nn.Module, layers: Mapping[str, nn.Module], stream: TokenStream) -> StateDict:
    """X^T X [n, n] of what layers of a block are fed; each batch of the stream becomes what the block makes of it.

    In float64: in less, rounding would fill the directions that no input takes, and pass for what outputs move along.
    """
    weights = {name: layer.get_parameter("weight") for name, layer in layers.items()}
    grams = {name: GramSum(weight[0].numel(), weight.device) for name, weight in weights.items()}
    with recorded_inputs(layers) as seen, torch.no_grad():
        for place, tokens in enumerate(stream):
            stream[place] = module(tokens)
            for name, gram in grams.items():
                gram.add(input_rows(layers[name], seen[name]))
    return {name: gram.total() for name, gram in grams.items()}


def decorrelated(pool: ModelPool, name: str) -> Tensor:
    """What TSV-M makes of a parameter's task matrices, query, key and value each by itself: [*shape]."""
    states = with_experts(pool, name, pool.base[name])
    return by_matrix(
        pool.layout, name, states, lambda parts: decorrelated_sum(*task_matrices(parts[0], parts[1:])).to(states)
    )


@merge_method(
    "esm",
    title="ESM",
    paper="arXiv:2602.20208",
    needs=Needs(base=True, calibration=True, blocks=True),
    year=2026,
    fidelity="released code",
    holds="3 models, 12 T + 40 tensors",
    cost="0.5 GB of tokens, more on disk; 1 pass over 32 images a task; T + 4 decompositions in float64 a matrix",
    ranges={"scaling": (0.1, 5.0)},
)
def esm(pool: ModelPool, *, scaling: NonNegativeFloat = 1.0, samples: PositiveInt = 32) -> StateDict:
    """Each task matrix cut to the directions that its outputs move along, made orthogonal between tasks, and summed.

        O_t = X_t tau_t^T, X_t: a layer's inputs in expert t;   P_t: the first m / T right singular vectors of O_t
        A_t = P_t^T tau_t (|tau_t| / mean_u |tau_u|)^2,   columns of P_t and rows of A_t by w_t = (e_t / mean e_t)^0.15,
           brought to mean 1, e_t the squares of the singular values
        A = [A_1; ...; A_T], its columns a_j by (|a_j| / mean_i |a_i|)^2;   P = [P_1 ... P_T]
        tau = 2 flat(P) flat(A), and by (|tau| / its mean over depth)^2, where flat(U S V^T) = mean(S) U V^T

    So for query-key-value (one matrix, as it is stored) and both MLP matrices; all other matrices as TSV-M has them,
    but that the attention's output has the factor over depth too; parameters that are no matrix: the mean task vector.
    theta_0 + s tau. Directions in which outputs do not move, or by rounding alone, have no part in it.
    Source: "ESM", arXiv:2602.20208, by its released code, which searches s on validation images between 0 and 5.

    Args:
        scaling: s.
        samples: unlabelled calibration images per task.
    """
    layout, expert = pool.layout, pool.encoder()
    (streams,) = embed_tasks(pool, [(expert, None)], samples)
    deltas: StateDict = {}
    for index, block in enumerate(layout.blocks):
        pool.tell("blocks", index, len(layout.blocks))
        parameters, module = layout.parameters_of(block), expert.get_submodule(block.name)
        layers = {name: expert.get_submodule(name) for name in block.linears if not name.endswith("attn.proj")}
        parts: dict[str, list[Essential]] = {name: [] for name in layers}
        for task in pool.tasks:
            load_part(expert, pool.experts[task], parameters)
            for name, gram in input_grams(module, layers, streams[task]).items():
                weight = f"{name}.weight"
                vector = layout.matrix(weight, pool.vector(task, weight)).double()
                parts[name].append(essential_part(vector, gram, len(vector) // len(pool.tasks)))
        for weight, found in ((f"{name}.weight", parts[name]) for name in layers):
            deltas[weight] = joined(found).to(pool.dtype).view(layout.shapes[weight])
    for name in layout.linear_weights:
        if name not in deltas:
            deltas[name] = decorrelated(pool, name)
    kinds: dict[str, list[str]] = {}
    for block in layout.blocks:
        for name in block.linears:
            kinds.setdefault(block.inner(name), []).append(f"{name}.weight")
    deltas = louder_by_depth(deltas, [*kinds.values()])

    def change(name: str) -> Tensor:
        if name in deltas:
            return deltas[name]
        return decorrelated(pool, name) if layout.is_matrix(name) else pool.vectors(name).mean(0)

    return pool.map_names(lambda name: pool.base[name] + scaling * change(name))
