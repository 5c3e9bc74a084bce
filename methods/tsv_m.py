"""TSV-M: each task keeps its share of singular triplets, and their directions are made orthogonal to each other."""

import torch
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.spectral import merge_matrices, polar_factor


def decorrelated_sum(vectors: Tensor) -> Tensor:
    """The sum of the tasks' leading triplets, their directions made orthogonal: [T, m, n] -> [m, n]."""
    tasks, *shape = vectors.shape
    kept = max(1, min(shape) // tasks)
    left, values, right = torch.linalg.svd(vectors, full_matrices=False)
    # Side by side: [m, T k], [T k] and [T k, n].
    together = polar_factor(torch.cat(list(left[:, :, :kept]), dim=1))
    return together * values[:, :kept].flatten() @ polar_factor(torch.cat(list(right[:, :kept]), dim=0))


@merge_method("tsv_m", title="TSV-M", paper="arXiv:2412.00081", needs=Needs(base=True))
def tsv_m(pool: ModelPool, *, scaling: float = 1.0) -> StateDict:
    """The leading singular triplets of every task matrix, decorrelated between tasks, and summed.

        tau_t = U_t S_t V_t^T, cut to its first r / T triplets (r: full rank; at least one);
        U = [U_1 ... U_T], V likewise;   delta = polar(U) diag(S_1 ... S_T) polar(V)^T

    polar(X) is the matrix with orthonormal columns nearest to X. Parameters that are no matrix: the mean task vector.
    Source: Gargiulo et al., "Task singular vectors: reducing task interference in model merging", section 4.

    Args:
        scaling: of delta; 1 is the published value.
    """
    return merge_matrices(pool, decorrelated_sum, scaling)
