"""Core space: low-rank task matrices are merged as small ones, in bases that hold all of them without loss."""

from collections.abc import Sequence
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.methods.dare import FractionBelowOne
from mergebench.methods.factors import Pair, factors, side_by_side
from mergebench.methods.iso import flattened_sum
from mergebench.methods.sparsify import drop_at_random, magnitude_threshold, trim
from mergebench.methods.spectral import directions
from mergebench.methods.ties import combine_agreeing
from mergebench.methods.tsv_m import decorrelated_sum


def cores(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """Bases of all columns of B and all rows of A, and the task matrices in them.

    Args:
        pairs: (B [m, r_t], A [r_t, n]) of every task; ranks may differ.

    Returns:
        U [m, p], the cores U^T B_t A_t V [T, p, q], and V [n, q].
    """
    left = directions(side_by_side([up for up, _ in pairs]))[0]
    right = directions(side_by_side([down.T for _, down in pairs]))[0]
    return left, torch.stack([(left.T @ up) @ (down @ right) for up, down in pairs]), right


def elected(matrices: Tensor, density: float) -> Tensor:
    """What TIES makes of matrices [T, p, q] by themselves, combining by the mean: [p, q]."""
    bars = torch.stack([magnitude_threshold(matrix.flatten(), density) for matrix in matrices])
    trimmed = trim(matrices, bars)
    return combine_agreeing(trimmed, trimmed.sum(0).sign().sum().sign().item(), "mean")


@merge_method(
    "core_space",
    title="Core Space",
    paper="arXiv:2509.17786",
    needs=Needs(base=True),
    year=2025,
    fidelity="released code",
    holds="10 T + 12 tensors",
    cost="2 SVDs in float64 of a matrix's factors, and its inner method on T r by T r; of whole experts T SVDs "
    "of matrices more; no passes",
    ranges={"scaling": (0.1, 2.0), "density": (0.05, 0.5), "rate": (0.1, 0.9)},
)
def core_space(
    pool: ModelPool,
    *,
    then: Literal["task_arithmetic", "ties", "dare", "iso_c", "tsv_m"] = "tsv_m",
    scaling: NonNegativeFloat = 0.2,
    density: ClosedUnitInterval = 0.1,
    rate: FractionBelowOne = 0.3,
) -> StateDict:
    """Every task matrix in bases that all tasks share, merged there by another method, and mapped back.

        tau_t = B_t A_t;   [B_1 ... B_T] = U S X^T,   [A_1^T ... A_T^T] = V S' Y^T;   M_t = U^T B_t A_t V
        theta = theta_0 + s U M V^T,   M = sum M_t, or their sum by DARE, or TIES, Iso-C or TSV-M on the M_t

    Nothing is lost: U U^T tau_t V V^T = tau_t. Matrix by matrix, query, key and value apart, TIES and its threshold
    too. Experts that are no adapters have B_t = U_t S_t^1/2 and A_t = S_t^1/2 V_t^T of their own decomposition.
    Directions that are rounding alone are in no basis. Parameters that are no matrix: s times the mean task vector.
    Source: Panariello et al., "Accurate and efficient low-rank model merging in core space", section 4; the defaults
    are those of the released code (TSV-M at 0.2; TIES at 10 %, DARE at 0.3 where nothing is set).

    Args:
        then: what merges the cores.
        scaling: s, of what comes out.
        density: of TIES, the fraction of a core's entries that it keeps.
        rate: of DARE, the probability that an entry is dropped.
    """

    def merged(name: str, part: int, pairs: list[Pair]) -> Tensor:
        left, small, right = cores(pairs)
        if not small.numel():
            return left.new_zeros(len(left), len(right))
        if then == "ties":
            core = elected(small, density)
        elif then == "iso_c":
            core = flattened_sum(small)
        elif then == "tsv_m":
            core = decorrelated_sum(small)
        elif then == "dare":
            drawn = (pool.generator(task, name, part) for task in pool.tasks)
            left_over = (drop_at_random(one, rate, own) for one, own in zip(small, drawn, strict=True))
            core = sum(left_over, start=torch.zeros_like(small[0]))
        else:
            core = small.sum(0)
        return left @ core @ right.T

    def of_parameter(name: str) -> Tensor:
        base = pool.base[name]
        if pool.layout.is_matrix(name):
            parts = [merged(name, part, pairs) for part, pairs in enumerate(factors(pool, name))]
            joint = torch.cat(parts).view(base.shape)
        else:
            joint = pool.vectors(name).mean(0)
        change: Tensor = scaling * joint
        return base + change

    return pool.map_names(of_parameter)
