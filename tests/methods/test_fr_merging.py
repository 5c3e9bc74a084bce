"""FR-Merging: against sums of waves written out, and the ends of its filter."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.fr_merging import equal_sizes, without_low_frequencies


def filtered(matrix, radius):
    """By the matrices of the discrete Fourier transform."""
    rows, columns = matrix.shape
    down, across = (np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) for n in (rows, columns))
    waves = down @ matrix @ across
    for i in range(rows):
        for j in range(columns):
            if np.hypot(i - rows // 2, j - columns // 2) > radius * min(rows, columns):
                waves[i, j] = 0
    return (np.conj(down) @ waves @ np.conj(across) / (rows * columns)).real


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (5, 8)])
@pytest.mark.parametrize("radius", [0.3, 0.5, 0.7])
def test_the_filter_against_sums_of_waves(shape, radius):
    vectors = normal(0, 2, *shape)
    found = without_low_frequencies(vectors, radius)
    for one, vector in zip(found, vectors, strict=True):
        np.testing.assert_allclose(one.numpy(), filtered(vector.numpy(), radius), rtol=1e-9, atol=1e-12)


def test_a_constant_is_the_lowest_frequency_and_goes_first():
    signs = (-1.0) ** torch.arange(8, dtype=torch.float64)
    constant, checkered = torch.ones(1, 8, 8, dtype=torch.float64), torch.outer(signs, signs)[None]
    assert without_low_frequencies(constant, 0.7).abs().max() < 1e-12
    torch.testing.assert_close(without_low_frequencies(checkered, 0.1), checkered)
    both = constant + checkered
    torch.testing.assert_close(without_low_frequencies(both, 0.8), both)


def test_vectors_of_any_size_come_to_the_largest():
    vectors = normal(1, 3, 4, 5) * torch.tensor([0.1, 3.0, 0.0])[:, None, None]
    sizes = equal_sizes(vectors).abs().mean((1, 2))
    torch.testing.assert_close(sizes[0], sizes[1])
    torch.testing.assert_close(sizes[1], vectors[1].abs().mean())
    assert sizes[2] == 0


def test_every_parameter_gets_its_due(mini):
    base = mini.encoder(dtype=torch.float64)
    experts, theta = mini.experts(base), base.state_dict()
    merged = mergebench.merge("fr_merging", base, experts, scaling=0.4, radius=0.6)
    for name, value in theta.items():
        vectors = [(e[name] - value).numpy() for e in experts.values()]
        if name.startswith("blocks.") and value.ndim == 2:
            vectors = [filtered(v, 0.6) for v in vectors]
        largest = max(np.abs(v).mean() for v in vectors)
        expected = value.numpy() + 0.4 * sum(v * largest / np.abs(v).mean() for v in vectors)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-8, atol=1e-10, err_msg=name)


def test_values_out_of_range_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="radius"):
        mergebench.merge("fr_merging", base, mini.experts(base), radius=-0.1)
