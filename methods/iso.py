"""Isotropic merging: the merged task matrix gets a flat spectrum, in a common subspace or with task-specific parts."""

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.spectral import merge_matrices, polar_factor, triplets


def flattened_sum(vectors: Tensor) -> Tensor:
    """The sum of task matrices with all its singular values at their mean: [T, m, n] -> [m, n]."""
    left, values, right = triplets(vectors.sum(0))
    return values.mean() * left @ right


def common_and_specific(vectors: Tensor, common: float) -> Tensor:
    """The leading directions of the sum, and each task's own outside them, with a flat spectrum.

    Args:
        vectors: task matrices [T, m, n].
        common: the share of directions that come from the sum; what is left is dealt out evenly, so a remainder
            stays with the sum.

    Returns:
        [m, n].
    """
    tasks, *shape = vectors.shape
    rank = min(shape)
    own = min(round((rank - int(common * rank)) / tasks), rank // tasks)
    shared = rank - tasks * own
    left, values, right = triplets(vectors.sum(0), shared)
    # What the common directions leave of each task's matrix.
    lefts, spectra, rights = triplets(vectors - left @ (left.T @ vectors), own)
    spectrum = torch.cat([spectra.flatten(), values])
    return spectrum.mean() * polar_factor(torch.cat([*lefts, left], dim=1)) @ polar_factor(torch.cat([*rights, right]))


@merge_method(
    "iso_c",
    title="Iso-C",
    paper="arXiv:2502.04959",
    needs=Needs(base=True),
    year=2025,
    fidelity="paper",
    cost="T + 5 tensors at a time; 1 SVD a matrix; no passes",
    ranges={"scaling": (0.1, 3.0)},
)
def iso_c(pool: ModelPool, *, scaling: NonNegativeFloat = 1.3) -> StateDict:
    """The sum of the task vectors, every matrix's singular values replaced by their mean.

        sum_t tau_t = U S V^T;   theta = theta_0 + s mean(S) U V^T

    Parameters that are no matrix: s times the mean task vector. Directions in which the sum is zero stay zero, where
    the released code fills in whatever directions the decomposition makes up.
    Source: Marczak et al., "No task left behind: isotropic model merging with common and task-specific subspaces",
    section 4.

    Args:
        scaling: s; 1.3 is the value behind the RegMean++ paper's figures on ViT-B/32 (1.4 on B/16, 1.5 on L/14).
    """
    return merge_matrices(pool, flattened_sum, scaling)


@merge_method(
    "iso_cts",
    title="Iso-CTS",
    paper="arXiv:2502.04959",
    needs=Needs(base=True),
    year=2025,
    fidelity="paper",
    cost="3 T + 6 tensors at a time; T + 3 SVDs a matrix; no passes",
    ranges={"scaling": (0.1, 3.0), "common": (0.0, 1.0)},
)
def iso_cts(pool: ModelPool, *, scaling: NonNegativeFloat = 1.5, common: ClosedUnitInterval = 0.8) -> StateDict:
    """As Iso-C, the least significant common directions replaced by the tasks' own.

        U_c, V_c: the first k directions of sum_t tau_t = U S V^T;   tau_t - U_c U_c^T tau_t = U_t S_t V_t^T
        U = [U_1 ... U_T U_c], V likewise, each U_t cut to (r - k) / T columns;
        theta = theta_0 + s mean(S_1 ... S_T S_c) polar(U) polar(V)^T

    polar(X) is the matrix with orthonormal columns nearest to X. (r - k) / T is rounded to a whole number, as in the
    released code, and k takes up the difference. Other parameters: s times the mean task vector.
    Source: as Iso-C, section 5.

    Args:
        scaling: s; 1.5 is the published value on ViT-B/32 (1.6 on B/16, 1.9 on L/14).
        common: k as a share of the full rank r.
    """
    return merge_matrices(pool, lambda vectors: common_and_specific(vectors, common), scaling)
