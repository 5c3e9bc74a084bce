"""Regression of one linear layer on several experts' inputs: Grams are summed, never the inputs kept."""

from dataclasses import dataclass

import torch
from scipy.linalg import lapack
from torch import Tensor

# Beyond this condition number a float64 Gram is singular for all it tells: its smallest pivots are rounding.
SINGULAR = 1e13

# Up to this factor on the off-diagonal entries, sums in float32 serve; see `precision_of`.
SHRUNK_ENOUGH = 0.95

# A square of a Gram's this wide is not halved any more: narrower products are slower than what halving saves.
UNDIVIDED = 192


def precision_of(alpha: float, rows: int, width: int) -> torch.dtype:
    """What a layer's Grams and targets are summed in: float32 where that is as good as float64, for half the time.

    Args:
        alpha: factor on the off-diagonal entries.
        rows: input rows of the expert that has fewest.
        width: input features d.

    A Gram is a matrix of correlations C between scales that change nothing: D^1/2 C D^1/2. Shrinking leaves alpha C +
    (1 - alpha) I, no eigenvalue of which is below 1 - alpha. Rounding of relative size e in C and in the targets moves
    the solution's deviation from the average by some 3 e sqrt(d) / (1 - alpha) of its size, whatever the inputs' rank:
    that was measured where all inputs take one direction alone, which is the worst there is. At 0.95 and d = 768 it is
    1e-5 of weights that deviate by a tenth. Cholesky's rounding is a change of C of the same kind. Nearer to 1,
    directions that no input takes would be solved for on rounding alone. Fewer rows than features leave such
    directions for sure, and are few to sum in float64.
    """
    return torch.float32 if alpha <= SHRUNK_ENOUGH and rows >= width else torch.float64


class GramSum:
    """X^T X of one layer's input rows, batch by batch.

    Only the upper half is computed, square by square: a Gram is symmetric.

    Args:
        width: input features d of the layer.
        device: where the rows are.
        dtype: of products and sums. In single precision rounding fills the directions that no input takes.
    """

    def __init__(self, width: int, device: torch.device, dtype: torch.dtype = torch.float64) -> None:
        self._upper = torch.zeros(width, width, dtype=dtype, device=device)
        self.rows = 0

    def add(self, inputs: Tensor) -> None:
        """Add input rows [..., d]."""
        rows = inputs.detach().reshape(-1, inputs.shape[-1]).to(self._upper.dtype)
        _add_upper(self._upper, rows, 0, len(self._upper))
        self.rows += len(rows)

    def total(self) -> Tensor:
        """X^T X of all rows so far [d, d]: the sum itself, which further rows change."""
        _mirror(self._upper, 0, len(self._upper))
        return self._upper

    def clear(self) -> None:
        """Begin anew, in the same memory."""
        self._upper.zero_()
        self.rows = 0


def _add_upper(gram: Tensor, rows: Tensor, start: int, end: int) -> None:
    """Add to the upper half of a square on a Gram's diagonal: one product off it, and the two halves on it likewise."""
    here = slice(start, end)
    if end - start <= UNDIVIDED:
        gram[here, here].addmm_(rows[:, here].T, rows[:, here])
        return
    middle = (start + end) // 2
    gram[start:middle, middle:end].addmm_(rows[:, start:middle].T, rows[:, middle:end])
    _add_upper(gram, rows, start, middle)
    _add_upper(gram, rows, middle, end)


def _mirror(gram: Tensor, start: int, end: int) -> None:
    """Fill the lower half of what `_add_upper` made."""
    if end - start > UNDIVIDED:
        middle = (start + end) // 2
        gram[middle:end, start:middle] = gram[start:middle, middle:end].T
        _mirror(gram, start, middle)
        _mirror(gram, middle, end)


@dataclass(frozen=True)
class Solution:
    """A solved layer.

    Args:
        weight: [out, d], in the precision of the sums.
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
        dtype: of the sums and of what is solved.
    """

    def __init__(self, average: Tensor, alpha: float, ridge: float = 0.0, dtype: torch.dtype = torch.float64) -> None:
        self._average = average.to(dtype)
        self._alpha, self._ridge = alpha, ridge
        width = average.shape[1]
        self._grams = torch.zeros(width, width, dtype=dtype, device=average.device)
        # Transposed, which is how LAPACK wants right sides to lie: (sum G_i (W_i - A)^T)^T.
        self._targets = torch.zeros(average.shape, dtype=dtype, device=average.device)

    def add(self, gram: Tensor, weight: Tensor, rows: int = 1) -> None:
        """Add an expert: its Gram [d, d], of how many rows it is where it counts per row, and its weight [out, d]."""
        share = 1 / max(rows, 1)
        gram = gram.to(self._grams.dtype)
        deviation = weight.to(self._average.dtype) - self._average
        self._grams.add_(gram, alpha=share)
        # The shrunk Gram's product, without a shrunk Gram.
        self._targets.addmm_(deviation, gram, alpha=share * self._alpha)
        self._targets.addcmul_(deviation, gram.diagonal(), value=share * (1 - self._alpha))

    def solve(self) -> Solution:
        """The merged weight."""
        diagonal = self._grams.diagonal().clone()
        if self._ridge:
            diagonal += self._ridge * diagonal.mean()
        grams = self._grams * self._alpha
        grams.diagonal().copy_(diagonal)
        deviation, condition = solve_positive(grams, self._targets.T)
        return Solution(self._average + deviation.T, condition)


def solve_positive(matrix: Tensor, right: Tensor) -> tuple[Tensor, float]:
    """Solve M X = R for a symmetric positive semi-definite M.

    By Cholesky; where M is singular to rounding (Cholesky may well go through by luck), by the pseudo-inverse in
    float64, which gives the smallest of the solutions. What is given in float32 must be known to be far from singular
    but for features of no power at all, as `precision_of` has it.

    Args:
        matrix: [d, d].
        right: [d, k].

    Returns:
        X [d, k], and the 1-norm condition number of M (LAPACK's estimate).
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    condition = float("inf") if failed.item() else _condition(factor, matrix)
    if condition < SINGULAR:
        return torch.cholesky_solve(right, factor), condition
    inverse = torch.linalg.pinv(matrix.double(), hermitian=True, rtol=1 / SINGULAR)
    return (inverse @ right.double()).to(right.dtype), condition


def _condition(factor: Tensor, matrix: Tensor) -> float:
    norm = torch.linalg.vector_norm(matrix, 1, dim=1).max().item()  # of rows, which are the columns too
    lower = factor.cpu().numpy()
    (estimate,) = lapack.get_lapack_funcs(("pocon",), (lower,))
    reciprocal, _ = estimate(lower, norm, uplo="L")
    return 1 / reciprocal if reciprocal > 0 else float("inf")
