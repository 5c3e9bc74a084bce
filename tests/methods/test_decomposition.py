"""Decompositions against NumPy's, whichever side is longer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergebench.methods import decomposition
from mergebench.methods.decomposition import SQUARED, all_above, singular_triplets, singular_values


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (3, 4, 11), (2, 1, 6), (6, 1)])
@pytest.mark.parametrize("rank", [None, 1, 0])
def test_triplets_are_numpys(shape, rank):
    matrix = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if rank is not None:
        matrix = matrix[..., :, :rank] @ matrix[..., :rank, :]
    left, values, right = singular_triplets(matrix)
    k = min(shape[-2:])
    assert (left.shape, values.shape) == ((*shape[:-1], k), (*shape[:-2], k)) and right.shape[-2:] == (k, shape[-1])
    expected = np.linalg.svd(matrix.numpy(), compute_uv=False)
    for found in (values, singular_values(matrix)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(left * values[..., None, :] @ right, matrix, rtol=1e-12, atol=1e-13)
    for columns in (left, right.mT):
        identity = torch.eye(k, dtype=torch.float64).expand(*shape[:-2], k, k)
        torch.testing.assert_close(columns.mT @ columns, identity, rtol=0, atol=1e-13)


def with_spectrum(values, rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sides = (torch.randn(n, len(values), dtype=torch.float64, generator=generator) for n in (rows, columns))
    left, right = (torch.linalg.qr(side).Q for side in sides)
    return left * values @ right.T


@pytest.fixture
def decomposed(monkeypatch):
    """Counts how often a whole decomposition is made."""
    calls = []
    svd = torch.linalg.svd
    monkeypatch.setattr(decomposition.torch.linalg, "svd", lambda *a, **k: calls.append(a) or svd(*a, **k))
    return calls


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (120, 30), (30, 120)])
def test_the_first_triplets_come_from_squares_where_these_tell_them(shape, decomposed):
    values = torch.logspace(0, np.log10(2 * SQUARED), 30, dtype=torch.float64)
    matrix = with_spectrum(values, *shape)
    left, found, right = singular_triplets(matrix, lambda values: 12)
    assert not decomposed and (left.shape, right.shape) == ((shape[0], 12), (12, shape[1]))
    np.testing.assert_allclose(found.numpy(), values.numpy(), rtol=0, atol=1e-13)
    expected = np.linalg.svd(matrix.numpy(), full_matrices=False)
    best = expected[0][:, :12] * expected[1][:12] @ expected[2][:12]
    np.testing.assert_allclose((left * found[:12] @ right).numpy(), best, rtol=0, atol=1e-12)
    for columns in (left, right.T):
        np.testing.assert_allclose((columns.T @ columns).numpy(), np.eye(12), atol=1e-11)


def test_what_is_small_beside_the_largest_is_not_told_by_squares(decomposed):
    values = torch.logspace(0, -7, 30, dtype=torch.float64)
    left, found, right = singular_triplets(with_spectrum(values, 40, 30), lambda values: 25)
    assert decomposed
    np.testing.assert_allclose(found.numpy(), values.numpy(), rtol=1e-8)
    np.testing.assert_allclose((left.T @ left).numpy(), np.eye(30), atol=1e-13)


def test_all_triplets_come_from_squares_of_a_tall_matrix_whose_values_are_alike(decomposed):
    tall = torch.linalg.qr(torch.randn(90, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).Q
    tall = tall @ (torch.eye(30, dtype=torch.float64) + 0.1 * tall[:30])
    left, values, right = singular_triplets(tall)
    assert not decomposed
    torch.testing.assert_close(left * values @ right, tall, rtol=0, atol=1e-13)
    expected = np.linalg.svd(tall.numpy(), full_matrices=False)
    np.testing.assert_allclose((left @ right).numpy(), expected[0] @ expected[2], atol=1e-12)
    singular_triplets(tall[:31])
    assert len(decomposed) == 1  # hardly longer than wide: not tried


def test_in_a_batch_one_that_squares_do_not_tell_decides_for_all(decomposed):
    well, badly = (with_spectrum(torch.logspace(0, end, 20, dtype=torch.float64), 30, 20) for end in (-1, -9))
    assert singular_triplets(torch.stack([well, well]), lambda values: 20)[0].shape == (2, 30, 20)
    assert not decomposed
    singular_triplets(torch.stack([well, badly]), lambda values: 20)
    singular_triplets(torch.zeros(2, 30, 20, dtype=torch.float64), lambda values: 3)
    assert len(decomposed) == 2


@given(st.integers(1, 12), st.integers(0, 10), st.floats(-4, 0), st.integers(0, 10**6))
def test_whether_all_singular_values_are_above_a_bound_is_told_without_them(rows, more, exponent, seed):
    matrix = torch.randn(rows, rows + more, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    least, bound = torch.linalg.svdvals(matrix)[-1], torch.tensor(10.0**exponent, dtype=torch.float64)
    if abs(least / bound - 1) > 1e-3 and least > 1e-4:
        assert all_above(matrix, bound) == bool(least > bound)
    assert not all_above(torch.cat([matrix, matrix[:1]]), bound)  # of lower rank
