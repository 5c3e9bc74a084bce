"""Isotropic merging: the merged task matrix gets a flat spectrum, in a common subspace or with task-specific parts."""

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.decomposition import uncertain
from mergebench.methods.spectral import Rounding, merge_matrices, polar_factor, triplets


def flattened_sum(vectors: Tensor, rounding: Rounding | None = None) -> Tensor:
    """The sum of task matrices [T, m, n] with all its singular values at their mean, zeros counted in it: [m, n].

    `rounding` is the matrices', as `task_matrices` has it.
    """
    rounding = rounding or Rounding.unknown(vectors)
    left, values, right = triplets(vectors.sum(0), rounding=rounding.of_sum(vectors))
    return values.mean() * left @ right


def common_and_specific(vectors: Tensor, common: float, rounding: Rounding | None = None) -> Tensor:
    """The leading directions of the sum, and each task's own outside them, with a flat spectrum.

    Args:
        vectors: task matrices [T, m, n].
        common: the share of directions that come from the sum; what is left is dealt out evenly, so a remainder
            stays with the sum.
        rounding: of the matrices, as `task_matrices` has it.

    Returns:
        [m, n].
    """
    tasks, *shape = vectors.shape
    rank = min(shape)
    own = min(round((rank - int(common * rank)) / tasks), rank // tasks)
    shared = rank - tasks * own
    rounding = rounding or Rounding.unknown(vectors)
    of_sum = rounding.of_sum(vectors)
    left, values, right = triplets(vectors.sum(0), shared, of_sum)
    # What the common directions leave of each task's matrix.
    outside = rounding._replace(noise=rounding.noise + left_by_rounding(vectors, of_sum, values))
    lefts, spectra, rights = triplets(vectors - left @ (left.T @ vectors), own, outside)
    turned = outside._replace(noise=torch.cat([outside.of_vectors(spectra).noise, of_sum.of_vectors(values).noise]))
    spectrum = torch.cat([spectra.flatten(), values])
    mean = spectrum.sum() / max(rank, int((spectrum > 0).sum()))
    columns, rows = torch.cat([*lefts, left], dim=1), torch.cat([*rights, right]).T
    return mean * polar_factor(columns, turned) @ polar_factor(rows, turned).T


def left_by_rounding(vectors: Tensor, of_sum: Rounding, values: Tensor) -> Tensor:
    """How much of each task matrix may be left outside the common directions by their rounding alone: [T].

    What they hold of a matrix whole leaves something small beside the matrix, but not beside itself.

    Args:
        vectors: task matrices [T, m, n].
        of_sum: of their sum.
        values: the sum's singular values [k] along the common directions.
    """
    sizes: Tensor = torch.linalg.matrix_norm(vectors)
    computed = uncertain(vectors, torch.finfo(vectors.dtype).eps)
    noise = torch.maximum(of_sum.noise, computed * sizes.sum())
    turned = of_sum._replace(noise=noise).of_vectors(values).noise
    return sizes * (computed + (turned.amax() if turned.numel() else 0.0))


@merge_method(
    "iso_c",
    title="Iso-C",
    paper="arXiv:2502.04959",
    needs=Needs(base=True),
    year=2025,
    fidelity="paper",
    holds="6 T + 10 tensors",
    cost="1 SVD in float64 a matrix, and T of a part of it; no passes",
    ranges={"scaling": (0.1, 3.0)},
)
def iso_c(pool: ModelPool, *, scaling: NonNegativeFloat = 1.3) -> StateDict:
    """The sum of the task vectors, every matrix's singular values replaced by their mean.

        sum_t tau_t = U S V^T;   theta = theta_0 + s mean(S) U V^T

    Parameters that are no matrix: s times the mean task vector. Directions in which the sum is zero, or of experts of
    low rank no more than what storing them rounded, stay zero; they count in the mean, as in the released code, which
    fills in whatever directions the decomposition makes up.
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
    holds="10 T + 8 tensors",
    cost="T + 3 SVDs in float64 a matrix, and T of a part of it; no passes",
    ranges={"scaling": (0.1, 3.0), "common": (0.0, 1.0)},
)
def iso_cts(pool: ModelPool, *, scaling: NonNegativeFloat = 1.5, common: ClosedUnitInterval = 0.8) -> StateDict:
    """As Iso-C, the least significant common directions replaced by the tasks' own.

        U_c, V_c: the first k directions of sum_t tau_t = U S V^T;   tau_t - U_c U_c^T tau_t = U_t S_t V_t^T
        U = [U_1 ... U_T U_c], V likewise, each U_t cut to (r - k) / T columns;
        theta = theta_0 + s mean(S_1 ... S_T S_c) polar(U) polar(V)^T

    polar(X) is the matrix with orthonormal columns nearest to X. (r - k) / T is rounded to a whole number, as in the
    released code, and k takes up the difference. Other parameters: s times the mean task vector. Directions that are
    rounding alone are left out, as in Iso-C; what a cut would part of equal singular values is in as a whole.
    Source: as Iso-C, section 5.

    Args:
        scaling: s; 1.5 is the published value on ViT-B/32 (1.6 on B/16, 1.9 on L/14).
        common: k as a share of the full rank r.
    """
    return merge_matrices(pool, lambda vectors, rounding: common_and_specific(vectors, common, rounding), scaling)
