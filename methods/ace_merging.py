"""ACE-Merging: RegMean's closed form without images, the inputs' covariances estimated from the task vectors."""

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.least_squares import solve_positive
from mergebench.methods.spectral import Rounding, merge_matrices, triplets

# Added to traces before they are divided by or their logarithm is taken.
TINY = 1e-12


def heterogeneity(vectors: Tensor) -> float:
    """The variance of the log energies of task matrices [T, m, n] over their squared mean; 0 for one task."""
    if len(vectors) == 1:
        return 0.0
    logs = (vectors.square().sum((1, 2)) + TINY).log()
    return (logs.var() / (logs.mean().square() + TINY)).item()


def leading_flat(matrix: Tensor, share: float, rounding: Rounding | None = None) -> Tensor:
    """The leading singular directions of a matrix [m, n], a share of them, all with the mean of their values.

    Singular values that are rounding are zeros, which count in the mean and have no direction.
    """
    kept = max(1, int(min(matrix.shape) * share))
    left, values, right = triplets(matrix, kept, rounding)
    return values.mean() * left @ right


def merge_by_estimated_covariance(
    vectors: Tensor, *, epsilon: float, threshold: float, share: float, rounding: Rounding | None = None
) -> Tensor:
    """ACE-Merging of one weight's task matrices, as `ace_merging` states it.

    The prior adds its mean row to every row of S = sum_t S_t, so what multiplies D is P S + e I with P = I + a J, J all
    ones. With Y = D P that is the symmetric problem Y (S + e P^-1) = sum_t C_t R_t, P^-1 = I - a / (1 + a n) J, which
    Cholesky solves, and the pseudo-inverse where it is singular.

    Args:
        vectors: [T, m, n].
        epsilon, threshold, share: as `ace_merging` has them.
        rounding: of the matrices, as `task_matrices` has it.

    Returns:
        D [m, n], float64.
    """
    vectors, rounding = vectors.double(), rounding or Rounding.unknown(vectors)
    tasks, _, width = vectors.shape
    uneven = heterogeneity(vectors) > threshold
    covariances = vectors.new_zeros(width, width)
    weighted, drawn = torch.zeros_like(vectors[0]), torch.zeros_like(vectors[0])
    floor = 0.0
    for vector in vectors[vectors.square().sum((1, 2)) > TINY]:  # a task that left the matrix alone has no inputs there
        centred = vector - vector.mean(0)
        covariance = centred.T @ centred
        scale = covariance.trace() + TINY if uneven else 1.0
        covariance /= scale
        covariances += covariance
        floor += epsilon / scale
        weighted += centred @ covariance + epsilon / scale * centred
        if uneven:  # the refinement alone asks for it
            drawn += vector @ covariance
    power = vectors.square().sum((1, 2)).mean() + TINY
    prior = 1 / (width * power) if uneven else 1 / width
    folded = prior / (1 + prior * width)
    eye = torch.eye(width, dtype=vectors.dtype, device=vectors.device)
    solved, _ = solve_positive(covariances + floor * (eye - folded), weighted.T)
    merged = solved.T - folded * solved.T.sum(1, keepdim=True)
    if not uneven:
        return merged
    mean = (covariances + floor * eye) / tasks
    terms = torch.stack([merged, drawn, -vectors.sum(0) @ mean])
    # Each term is as uncertain, for its size, as the task matrices are for theirs.
    uncertain = rounding.of_sum(vectors).noise / (torch.linalg.matrix_norm(vectors).sum() + TINY)
    rounding = rounding._replace(noise=uncertain * torch.linalg.matrix_norm(terms).sum())
    return merged + leading_flat(terms.sum(0), share, rounding)


@merge_method(
    "ace_merging",
    title="ACE-Merging",
    paper="arXiv:2603.02945",
    needs=Needs(base=True),
    year=2026,
    fidelity="released code",
    holds="6 T + 48 tensors",
    cost="a solve (and an SVD, where tasks are uneven) a matrix; no passes",
    ranges={"scaling": (0.5, 2.0), "epsilon": (1e-4, 1.0), "threshold": (0.0, 1.0), "share": (0.1, 1.0)},
)
def ace_merging(
    pool: ModelPool,
    *,
    scaling: float = 1.0,
    epsilon: NonNegativeFloat = 1e-2,
    threshold: NonNegativeFloat = 0.3,
    share: ClosedUnitInterval = 0.3,
) -> StateDict:
    """RegMean's solution with each task's input covariance read off its task vector.

    Gradient steps move a weight by sums of (gradient of the output) x (input)^T, so the rows of tau_t are mixtures of
    the task's inputs, and their covariance stands for that of the inputs:

        C_t = tau_t minus its mean row;   S_t = C_t^T C_t;   R_t = S_t + e I
        D (sum_t R_t + 1 p^T) = sum_t C_t R_t,   p = the mean row of sum_t S_t (the prior that all tasks share)

    Where the tasks are uneven, var(log |tau_t|^2) / mean(log |tau_t|^2)^2 > threshold (|.| Frobenius), each S_t and its
    e are divided by trace(S_t), p by the mean of |tau_t|^2, and D is refined by the leading part of what it misses:

        D + mean(s_1 ... s_k) sum_{i <= k} u_i v_i^T,   U diag(s) V^T = D + sum_t tau_t (S_t - mean_t R_t)

    theta_0 + scaling D; other parameters: the mean task vector. Singular values s that are rounding have no
    direction (the released code takes what a decomposition makes up). A task that left a matrix alone has no part
    in it (in the released code, dividing by its trace makes the result explode). This unevenness, the released
    code's, is no ratio: it is largest where |tau_t|^2 is near 1, and small for the same task vectors in another
    unit.
    Source: Xu et al., "ACE-Merging: data-free model merging with adaptive covariance estimation", as its released code
    computes it (its C_t, not tau_t, stand on the right, so a mean row that all tasks share is not merged). There a
    fused qkv is one matrix; here it is three, like everywhere.

    Args:
        scaling: of D.
        epsilon: e, what keeps directions apart that no task has moved along.
        threshold: from what unevenness on the tasks are normalised and D is refined.
        share: k as a share of the full rank (at least one).
    """

    def merge(vectors: Tensor, rounding: Rounding) -> Tensor:
        return merge_by_estimated_covariance(
            vectors, epsilon=epsilon, threshold=threshold, share=share, rounding=rounding
        )

    return merge_matrices(pool, merge, scaling)
