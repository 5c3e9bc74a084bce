"""KnOTS: the tasks' matrices in one basis of what they write to, where TIES then merges them entry by entry."""

from collections.abc import Sequence

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.dare import FractionBelowOne
from mergebench.methods.factors import Pair, factors, side_by_side
from mergebench.methods.sparsify import drop_at_random
from mergebench.methods.spectral import triplets
from mergebench.methods.ties import combine_agreeing, trimmed_and_majority

SMALLEST = 1e-5  # of a singular value whose direction counts


def shared_basis(pairs: Sequence[Pair]) -> Tensor:
    """The left singular vectors of all tasks' matrices side by side, of values above `SMALLEST`.

    With A_t^T = Q_t R_t, the matrices B_t R_t^T side by side have the same ones, and are much smaller.

    Args:
        pairs: (B [m, r_t], A [r_t, n]) of every task.

    Returns:
        [m, k].
    """
    stack = side_by_side([up @ torch.linalg.qr(down.T).R.T for up, down in pairs])
    if not stack.numel():
        return stack
    left, values, _ = triplets(stack)
    return left[:, values > SMALLEST]


@merge_method(
    "knots",
    title="KnOTS",
    paper="arXiv:2410.19735",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="4 models, 6 T + 12 tensors",
    cost="of LoRA experts 1 SVD in float64 of their factors a matrix; of others T + 1 SVDs of matrices; no passes",
    ranges={"scaling": (0.1, 1.0), "density": (0.05, 1.0), "rate": (0.0, 0.9)},
)
def knots(
    pool: ModelPool,
    *,
    scaling: NonNegativeFloat = 0.6,
    density: ClosedUnitInterval = 0.2,
    rate: FractionBelowOne = 0.0,
) -> StateDict:
    """The task matrices' coordinates in a basis that all tasks share, merged by TIES, and mapped back.

        [tau_1 ... tau_T] = U S [V_1^T ... V_T^T], s_i > 1e-5;   C_t = S V_t^T = U^T tau_t
        theta = theta_0 + s U TIES(C_1 ... C_T), combined by the mean;   with p > 0 DARE drops entries of the C_t first

    Matrix by matrix, query, key and value apart; TIES' threshold is over the coordinates of all matrices together.
    With LoRA experts U comes from their factors, [B_1 R_1^T ... B_T R_T^T] with A_t^T = Q_t R_t. Parameters that are
    no matrix: s times the mean task vector.
    Source: Stoica et al., "Model merging with SVD to tie the knots", section 4; the values are those of the released
    code on ViT-B/32: s = 0.6 and 20 % with TIES, s = 0.7, p = 0.1 and all entries with DARE.

    Args:
        scaling: s.
        density: of TIES, the fraction of coordinates to keep.
        rate: p, of DARE; without it, if 0.
    """
    names = [name for name in pool.layout.floating if pool.layout.is_matrix(name)]
    bases = {name: [shared_basis(pairs) for pairs in factors(pool, name)] for name in names}

    def coordinates(task: str, name: str) -> Tensor:
        found = pool.low_rank(task, name)
        whole = torch.matmul(*(f.double() for f in found)) if found else pool.vector(task, name).double()
        parts = zip(bases[name], pool.layout.matrices(name, whole), strict=True)
        own = torch.cat([(basis.T @ matrix).flatten() for basis, matrix in parts])
        return drop_at_random(own, rate, pool.generator(task, name)) if rate else own

    there = [name for name in names if any(basis.numel() for basis in bases[name])]
    trimmed, majority = trimmed_and_majority(coordinates, pool.tasks, there, density) if there else (None, 0.0)

    def merged(name: str) -> Tensor:
        base = pool.base[name]
        if name not in bases:
            change: Tensor = scaling * pool.vectors(name).mean(0)
            return base + change
        if name not in there:
            return base
        assert trimmed is not None  # as the name is there
        combined = combine_agreeing(trimmed(name), majority, "mean")
        width = pool.layout.matrices(name, base)[0].shape[1]
        parts = torch.split(combined, [basis.shape[1] * width for basis in bases[name]])
        mapped = [basis @ own.view(-1, width) for basis, own in zip(bases[name], parts, strict=True)]
        change = scaling * torch.cat(mapped).view(base.shape)
        return base + change

    return pool.map_names(merged)
