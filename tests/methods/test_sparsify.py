"""Thinning task vectors: how many entries are kept, which, and what becomes of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergebench.methods.sparsify import drop_at_random, keep_middle, magnitude_threshold, trim

RATE = 0.25


@pytest.mark.parametrize(("density", "size", "kept"), [(0.1, 30, 3), (0.29, 100, 29), (0.2, 14, 2), (0.01, 7, 1)])
def test_exactly_floor_of_density_times_size_entries_are_kept(density, size, kept):
    vector = torch.randperm(size, generator=torch.Generator().manual_seed(size)).double() - size / 3 + 0.1
    threshold = magnitude_threshold(vector, density)
    assert int((vector.abs() >= threshold).sum()) == kept
    assert int((trim(vector[None], threshold[None]) != 0).sum()) == kept


def test_entries_as_large_as_the_last_kept_one_are_kept_too():
    vector = torch.tensor([3.0, -2.0, 2.0, 2.0, 1.0])
    threshold = magnitude_threshold(vector, 0.4)
    assert trim(vector[None], threshold[None]).tolist() == [[3.0, -2.0, 2.0, 2.0, 0.0]]


def test_entries_are_dropped_at_the_rate_and_the_others_enlarged():
    vector = torch.linspace(1, 2, 40_000)
    kept = drop_at_random(vector, RATE, torch.Generator().manual_seed(0))
    gone = kept == 0
    assert abs(gone.double().mean() - RATE) < 5 * math.sqrt(RATE * (1 - RATE) / len(vector))
    torch.testing.assert_close(kept[~gone], vector[~gone] / (1 - RATE))
    assert abs(kept.mean() - vector.mean()) < 0.02, "what is enlarged makes up for what is gone"


def test_nothing_is_as_large_as_the_threshold_of_density_zero():
    assert magnitude_threshold(torch.tensor([1e30, -2.0]), 0).item() == math.inf


def test_the_middle_worked_by_hand():
    # Of ten, the two largest go (-9, 8), the next three stay (-7, 6, 5); each row is ranked by itself.
    first = torch.tensor([1.0, -9.0, 5.0, 0.0, 8.0, -7.0, 2.0, -3.0, 6.0, 4.0])
    kept = keep_middle(torch.stack([first, -first.flip(0)]), 0.3, 0.2)
    assert kept[0].tolist() == [0, 0, 5, 0, 0, -7, 0, 0, 6, 0]
    assert kept[1].tolist() == [0, -6, 0, 0, 7, 0, 0, -5, 0, 0]


def test_entries_as_large_as_a_kept_one_at_either_end_are_kept_too():
    vector = torch.tensor([4.0, -4.0, 3.0, 2.0, -2.0, 1.0])
    # One is dropped, then two kept: of the two largest magnitudes, 4 and -4, one is the first that is kept.
    assert keep_middle(vector, 2 / 6, 1 / 6).tolist() == [4, -4, 3, 0, 0, 0]
    assert keep_middle(vector, 2 / 6, 2 / 6).tolist() == [0, 0, 3, 2, -2, 0]


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
def test_the_middle_is_a_slice_of_the_sorted_magnitudes(size, density, outliers, seed):
    vector = np.random.default_rng(seed).permutation(size) - size / 3 + 0.1  # no two magnitudes are equal
    above, kept = int(round(outliers * size, 6)), int(round(density * size, 6))
    expected = np.zeros(size)
    for place in sorted(range(size), key=lambda i: -abs(vector[i]))[above : above + kept]:
        expected[place] = vector[place]
    np.testing.assert_array_equal(keep_middle(torch.from_numpy(vector), density, outliers).numpy(), expected)
