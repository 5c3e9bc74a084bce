"""TSV-M: each task keeps its share of singular triplets, and their directions are made orthogonal to each other."""

import torch
from jsonargparse.typing import NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.spectral import Rounding, merge_matrices, polar_factor, triplets


def decorrelated_sum(vectors: Tensor, rounding: Rounding | None = None) -> Tensor:
    """The sum of the tasks' leading triplets, their directions made orthogonal.

    Args:
        vectors: task matrices [T, m, n].
        rounding: theirs, as `task_matrices` has it.

    Returns:
        [m, n].
    """
    tasks, *shape = vectors.shape
    rounding = rounding or Rounding.unknown(vectors)
    left, values, right = triplets(vectors, max(1, min(shape) // tasks), rounding)
    turned = rounding.of_vectors(values)
    # Side by side: [m, T k], [T k] and [n, T k].
    lefts, rights = torch.cat([*left], dim=1), torch.cat([*right]).T
    return polar_factor(lefts, turned) * values.flatten() @ polar_factor(rights, turned).T


@merge_method(
    "tsv_m",
    title="TSV-M",
    paper="arXiv:2412.00081",
    needs=Needs(base=True),
    year=2024,
    fidelity="paper",
    holds="9 T + 12 tensors",
    cost="T + 2 SVDs in float64 a matrix, and T of a part of it; no passes",
    ranges={"scaling": (0.1, 2.0)},
)
def tsv_m(pool: ModelPool, *, scaling: NonNegativeFloat = 1.0) -> StateDict:
    """The leading singular triplets of every task matrix, decorrelated between tasks, and summed.

        tau_t = U_t S_t V_t^T, cut to its first r / T triplets (r: full rank; rounded down, but at least one);
        U = [U_1 ... U_T], V likewise;   delta = polar(U) diag(S_1 ... S_T) polar(V)^T

    polar(X) is the matrix with orthonormal columns nearest to X. Parameters that are no matrix: the mean task vector;
    s scales all of them. Triplets whose singular value is zero, or in experts of low rank no more than what storing
    them rounded, are left out (in the released code the directions that a decomposition makes up for them disturb
    those of the other tasks); what a cut would part of equal singular values is in as a whole.
    Source: Gargiulo et al., "Task singular vectors: reducing task interference in model merging", section 4.

    Args:
        scaling: s, of delta; 1 is the published value.
    """
    return merge_matrices(pool, decorrelated_sum, scaling)
