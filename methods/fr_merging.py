"""FR-Merging: task vectors without their lowest frequencies, brought to one size and summed."""

import torch
from jsonargparse.typing import NonNegativeFloat
from torch import Tensor

from mergebench import ModelPool, Needs, StateDict, merge_method


def without_low_frequencies(vectors: Tensor, radius: float) -> Tensor:
    """Task matrices [T, m, n] without the Fourier coefficients that lie far from the middle of the transform.

    As it is computed, a transform has its lowest frequencies at the corners.

    Args:
        vectors: [T, m, n].
        radius: how far from the index (m // 2, n // 2) coefficients are kept, in units of min(m, n).

    Returns:
        [T, m, n], the real part.
    """
    rows, columns = vectors.shape[1:]
    down = torch.arange(rows, device=vectors.device, dtype=vectors.dtype) - rows // 2
    across = torch.arange(columns, device=vectors.device, dtype=vectors.dtype) - columns // 2
    kept = down[:, None].square() + across.square() <= (radius * min(rows, columns)) ** 2
    return torch.stack([torch.fft.ifft2(torch.fft.fft2(vector) * kept).real for vector in vectors])


def equal_sizes(vectors: Tensor) -> Tensor:
    """Vectors [T, *shape] scaled so that the mean magnitude of each is the largest one's; zero stays zero."""
    sizes = vectors.flatten(1).abs().mean(1)
    factors = torch.where(sizes > 0, sizes.max() / torch.where(sizes > 0, sizes, 1), 0)
    return vectors * factors.view(-1, *[1] * (vectors.ndim - 1))


@merge_method(
    "fr_merging",
    title="FR-Merging",
    paper="arXiv:2411.16815",
    needs=Needs(base=True),
    year=2024,
    fidelity="released code",
    holds="9 T + 20 tensors",
    cost="2 T Fourier transforms a matrix; no passes",
    ranges={"scaling": (0.05, 1.0), "radius": (0.5, 0.8)},
)
def fr_merging(pool: ModelPool, *, scaling: float = 0.7, radius: NonNegativeFloat = 0.7) -> StateDict:
    """The sum of the task vectors, of one size each, the linear layers' without their lowest frequencies.

        tau'_t = Re F^-1(F(tau_t) where the index is no more than r min(m, n) from the middle, else 0)
        theta = theta_0 + s sum_t tau'_t max_u |tau'_u|_1 / |tau'_t|_1, parameter by parameter

    F is the two-dimensional Fourier transform with its lowest frequencies at the corners, so that these are what is
    left out: they are taken for what tasks disturb each other by. The weights of the blocks' linear layers are
    filtered, as they are stored; other parameters are not, but scaled and summed likewise.
    Source: Zheng and Wang, "FREE-Merging: Fourier transform for model merging with lightweight experts", section 4.1,
    by its released code, without the experts that stay beside the model.

    Args:
        scaling: s.
        radius: r.
    """
    linear = set(pool.layout.linear_weights)

    def merged(name: str) -> Tensor:
        vectors = pool.vectors(name)
        if name in linear:
            vectors = without_low_frequencies(vectors.flatten(2), radius).view(vectors.shape)
        return pool.base[name] + scaling * equal_sizes(vectors).sum(0)

    return pool.map_names(merged)
