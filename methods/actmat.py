"""ActMat: RegMean without images, the Gram of a task's inputs taken to be that of its task vector."""

from jsonargparse.typing import NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.least_squares import solve_positive
from mergebench.methods.spectral import merge_matrices


def regression_on_vectors(vectors: Tensor, ridge: float) -> Tensor:
    """argmin_tau sum_t ||(tau - tau_t) tau_t^T||^2, of task matrices [T, m, n]: [m, n].

    Args:
        vectors: [T, m, n].
        ridge: added to the diagonal of sum_t tau_t^T tau_t, as a share of its mean.
    """
    width = vectors.shape[-1]
    grams, targets = vectors.new_zeros(width, width), vectors.new_zeros(width, len(vectors[0]))
    for vector in vectors:
        gram = vector.T @ vector
        grams += gram
        targets.addmm_(gram, vector.T)
    if ridge:
        grams.diagonal().add_(ridge * grams.diagonal().mean())
    return solve_positive(grams, targets)[0].T


@merge_method(
    "actmat",
    title="ActMat",
    paper="arXiv:2604.01329",
    needs=Needs(base=True),
    year=2026,
    fidelity="paper",
    holds="3 T + 48 tensors",
    cost="a solve in float64 a matrix; no passes",
    ranges={"scaling": (0.5, 2.0), "ridge": (0.0, 0.1)},
)
def actmat(pool: ModelPool, *, scaling: NonNegativeFloat = 1.0, ridge: NonNegativeFloat = 0.0) -> StateDict:
    """RegMean's closed form, with the task vectors in the place of the tasks' inputs.

        tau = (sum_t tau_t G_t) (sum_t G_t + e I)^-1,   G_t = tau_t^T tau_t

    theta_0 + scaling tau; other parameters: the mean task vector. The rows of tau_t are sums of gradients, which are
    mixtures of the inputs that task t's layer was trained on. Where the system is singular, the smallest solution.
    WUDI's minimum is the same but for weights 1 / ||tau_t||^2, so that here tasks count by how far they moved.
    Source: arXiv:2604.01329, by its formula.

    Args:
        scaling: of tau.
        ridge: e, as a share of the mean of the diagonal; 0 is the paper's formula.
    """
    return merge_matrices(pool, lambda vectors, _: regression_on_vectors(vectors, ridge), scaling)
