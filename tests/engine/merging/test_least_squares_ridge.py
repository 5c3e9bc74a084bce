"""The ridge towards the average: NumPy's closed form, its two ends, and what it is relative to."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergebench.merging.least_squares import LayerRegression

SEEDS = st.integers(0, 10**5)
ALPHAS = st.floats(0, 1)
RIDGES = st.floats(1e-4, 1e3)


def problem(seed, width=8, out=3, counts=(30, 12, 50), rank=None):
    """Grams [width, width] per row and weights [out, width] of several experts, in float64."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((width, rank or width)) @ rng.standard_normal((rank or width, width))
    inputs = [(i + 1) * rng.standard_normal((n, width)) @ mixing for i, n in enumerate(counts)]
    return [x.T @ x / len(x) for x in inputs], [rng.standard_normal((out, width)) for _ in counts]


def regress(grams, weights, alpha=1.0, **ridge):
    regression = LayerRegression(torch.from_numpy(sum(weights) / len(weights)), alpha, **ridge)
    for gram, weight in zip(grams, weights, strict=True):
        regression.add(torch.from_numpy(gram), torch.from_numpy(weight))
    return regression.solve()


def summed(grams, alpha):
    """Every Gram's off-diagonal entries times alpha, summed."""
    return sum(np.where(np.eye(len(g)) == 1, g, alpha * g) for g in grams)


def closed_form(grams, weights, alpha, ridge):
    """(S + mu I) W^T = sum_i S_i W_i^T + mu A^T with mu = ridge times the mean of S's diagonal."""
    average = sum(weights) / len(weights)
    total = summed(grams, alpha)
    mu = ridge * np.trace(total) / len(total)
    right = sum(summed([g], alpha) @ w.T for g, w in zip(grams, weights, strict=True)) + mu * average.T
    return np.linalg.solve(total + mu * np.eye(len(total)), right).T


@given(SEEDS, ALPHAS, RIDGES)
def test_the_closed_form(seed, alpha, ridge):
    grams, weights = problem(seed)
    found = regress(grams, weights, alpha, ridge=ridge).weight.numpy()
    np.testing.assert_allclose(found, closed_form(grams, weights, alpha, ridge), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 2.0])
def test_it_is_least_squares_on_inputs_with_the_ridge_as_further_rows(ridge):
    rng = np.random.default_rng(4)
    inputs = [rng.standard_normal((n, 6)) * (i + 1) for i, n in enumerate((20, 9))]
    weights = [rng.standard_normal((4, 6)) for _ in inputs]
    average = sum(weights) / 2
    scaled = [x / np.sqrt(len(x)) for x in inputs]
    pull = np.sqrt(ridge * sum((x**2).sum() for x in scaled) / 6) * np.eye(6)
    rows = np.concatenate([*scaled, pull])
    targets = np.concatenate([*(x @ w.T for x, w in zip(scaled, weights, strict=True)), pull @ average.T])
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0].T
    found = regress([x.T @ x for x in scaled], weights, ridge=ridge).weight.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


@given(SEEDS, ALPHAS)
def test_no_ridge_is_the_plain_regression_bit_for_bit(seed, alpha):
    grams, weights = problem(seed)
    plain = regress(grams, weights, alpha)
    none = regress(grams, weights, alpha, ridge=0.0)
    assert torch.equal(plain.weight, none.weight) and plain.condition == none.condition


@given(SEEDS, ALPHAS)
def test_a_ridge_towards_infinity_gives_the_average(seed, alpha):
    grams, weights = problem(seed)
    average = sum(weights) / len(weights)
    found = [np.abs(regress(grams, weights, alpha, ridge=10.0**k).weight.numpy() - average).max() for k in (3, 6, 9)]
    assert found[0] > 100 * found[1] > 100 * 100 * found[2]  # as one over the ridge
    assert found[2] < 1e-6


@given(SEEDS, ALPHAS, st.lists(RIDGES, min_size=2, max_size=5))
def test_a_stronger_ridge_leads_nearer_to_the_average(seed, alpha, ridges):
    grams, weights = problem(seed)
    average = torch.from_numpy(sum(weights) / len(weights))
    far = [(regress(grams, weights, alpha, ridge=r).weight - average).norm().item() for r in sorted(ridges)]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in itertools.pairwise(far))


@given(SEEDS, ALPHAS, RIDGES, st.floats(1e-3, 1e3))
def test_the_ridge_is_relative_to_the_inputs_scale(seed, alpha, ridge, scale):
    grams, weights = problem(seed)
    first = regress(grams, weights, alpha, ridge=ridge).weight
    second = regress([scale * g for g in grams], weights, alpha, ridge=ridge).weight
    torch.testing.assert_close(second, first, rtol=1e-7, atol=1e-8)


@given(SEEDS, ALPHAS, RIDGES)
def test_equal_weights_come_back_whatever_the_ridge(seed, alpha, ridge):
    grams, weights = problem(seed)
    found = regress(grams, [weights[0]] * 3, alpha, ridge=ridge).weight.numpy()
    np.testing.assert_allclose(found, weights[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 1.0])
def test_a_ridge_makes_a_singular_gram_definite_and_its_unseen_directions_stay_at_the_average(ridge):
    grams, weights = problem(3, rank=4)
    assert regress(grams, weights).condition > 1e12
    found = regress(grams, weights, ridge=ridge)
    assert found.condition < 1e10
    np.testing.assert_allclose(found.weight.numpy(), closed_form(grams, weights, 1.0, ridge), rtol=1e-5, atol=1e-6)
    values, basis = np.linalg.eigh(sum(grams))
    unseen = basis[:, values < 1e-9 * values.max()]
    assert unseen.shape[1] == 4
    average = sum(weights) / len(weights)
    np.testing.assert_allclose(found.weight.numpy() @ unseen, average @ unseen, rtol=1e-6, atol=1e-7)


@given(SEEDS, ALPHAS, st.floats(1e-3, 1.0))
def test_the_condition_number_is_that_of_what_is_solved(seed, alpha, ridge):
    grams, weights = problem(seed)
    total = summed(grams, alpha)
    exact = np.linalg.cond(total + ridge * np.trace(total) / len(total) * np.eye(len(total)), p=1)
    assert exact / 10 <= regress(grams, weights, alpha, ridge=ridge).condition <= exact * (1 + 1e-6)


def test_solving_leaves_the_sums_as_they_were():
    grams, weights = problem(1)
    regression = LayerRegression(torch.from_numpy(sum(weights) / 3), 0.9, 0.5)
    for gram, weight in zip(grams, weights, strict=True):
        regression.add(torch.from_numpy(gram), torch.from_numpy(weight))
    assert torch.equal(regression.solve().weight, regression.solve().weight)


def test_inputs_that_are_all_zero_leave_the_average_under_a_ridge_too():
    weights = [np.full((2, 3), float(i)) for i in range(3)]
    found = regress([np.zeros((3, 3))] * 3, weights, ridge=0.1)
    assert found.weight.tolist() == [[1.0] * 3] * 2
