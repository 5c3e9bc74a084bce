"""Regression of one linear layer on several experts' inputs: Grams are summed, never the inputs kept."""

from dataclasses import dataclass

import torch
from scipy.linalg import lapack
from torch import Tensor

# Beyond this condition number a float64 Gram is singular for all it tells: its smallest pivots are rounding.
SINGULAR = 1e13


def shrink_off_diagonal(gram: Tensor, alpha: float) -> Tensor:
    """Multiply the off-diagonal entries of a Gram [d, d] by alpha; the diagonal stays."""
    shrunk = alpha * gram
    shrunk.diagonal().copy_(gram.diagonal())
    return shrunk


class GramSum:
    """X^T X / n of one layer's input rows, batch by batch.

    In float64: a product in single precision would fill directions that no input takes with its rounding, and the
    solution there would be that rounding, amplified.

    Args:
        width: input features d of the layer.
        device: where the rows are.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self._sum = torch.zeros(width, width, dtype=torch.float64, device=device)
        self.rows = 0

    def add(self, inputs: Tensor) -> None:
        """Add input rows [..., d]."""
        rows = inputs.detach().reshape(-1, inputs.shape[-1]).double()
        self._sum += rows.T @ rows
        self.rows += len(rows)

    def total(self) -> Tensor:
        """X^T X of all rows [d, d], float64."""
        return self._sum.clone()

    def mean(self) -> Tensor:
        """The Gram per row [d, d], float64."""
        return self._sum / max(self.rows, 1)


@dataclass(frozen=True)
class Solution:
    """A solved layer.

    Args:
        weight: [out, d], float64.
        condition: 1-norm condition number of the summed Gram (LAPACK's estimate); infinite if it is singular.
    """

    weight: Tensor
    condition: float


class LayerRegression:
    """min_W sum_i ||X_i W^T - X_i W_i^T||^2 / n_i over experts, with shrunk off-diagonals.

    It is solved for the deviation from the average, W = A + D with D^T = (sum G_i)^-1 sum G_i (W_i - A)^T. In exact
    arithmetic that is RegMean's W^T = (sum G_i)^-1 sum G_i W_i^T (arXiv:2212.09849, eq. 2); where the inputs leave a
    direction unseen it falls back to the average there instead of to zero, and equal experts come back exactly.

    Args:
        average: mean of the experts' weights [out, d]; or whatever else unseen directions are to fall back to.
        alpha: factor on each Gram's off-diagonal entries.
        ridge: weight of ||W - A||^2, relative to the mean of the summed Gram's diagonal.
    """

    def __init__(self, average: Tensor, alpha: float, ridge: float = 0.0) -> None:
        self._average = average.double()
        self._alpha, self._ridge = alpha, ridge
        width = average.shape[1]
        self._grams = torch.zeros(width, width, dtype=torch.float64, device=average.device)
        self._targets = torch.zeros(width, average.shape[0], dtype=torch.float64, device=average.device)

    def add(self, gram: Tensor, weight: Tensor) -> None:
        """Add an expert: its Gram, per row or of all rows [d, d], and its weight [out, d]."""
        shrunk = shrink_off_diagonal(gram.double(), self._alpha)
        self._grams += shrunk
        self._targets += shrunk @ (weight.double() - self._average).T

    def solve(self) -> Solution:
        """The merged weight."""
        grams = self._grams
        if self._ridge:
            grams = grams + torch.diag_embed((self._ridge * grams.diagonal().mean()).expand(len(grams)))
        deviation, condition = solve_positive(grams, self._targets)
        return Solution(self._average + deviation.T, condition)


def solve_positive(matrix: Tensor, right: Tensor) -> tuple[Tensor, float]:
    """Solve M X = R for a symmetric positive semi-definite M.

    By Cholesky in float64; where M is singular to rounding (Cholesky may well go through by luck), by the
    pseudo-inverse, which gives the smallest of the solutions.

    Args:
        matrix: [d, d], float64.
        right: [d, k], float64.

    Returns:
        X [d, k], and the 1-norm condition number of M (LAPACK's estimate).
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    condition = float("inf") if failed.item() else _condition(factor, matrix)
    if condition < SINGULAR:
        return torch.cholesky_solve(right, factor), condition
    return torch.linalg.pinv(matrix, hermitian=True, rtol=1 / SINGULAR) @ right, condition


def _condition(factor: Tensor, matrix: Tensor) -> float:
    norm = matrix.abs().sum(0).max().item()
    reciprocal, _ = lapack.dpocon(factor.cpu().numpy(), norm, uplo="L")
    return 1 / reciprocal if reciprocal > 0 else float("inf")
