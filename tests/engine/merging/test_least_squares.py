"""The regression of one layer: against NumPy, and where the inputs do not determine it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergebench.merging.least_squares import UNDIVIDED, GramSum, LayerRegression, solve_positive

CPU = torch.device("cpu")
COUNTS = (40, 90, 25)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(seed=0, width=12, out=5, counts=COUNTS, rank=None):
    """Inputs X_i [n_i, width] that differ in scale and correlation (all in one subspace of `rank`), and weights W_i."""
    mixing = normal(seed, width, width)
    if rank is not None:
        basis = torch.linalg.qr(mixing).Q[:, :rank]
        mixing = mixing @ basis @ basis.T
    inputs = [(i + 1) * normal(seed + 10 + i, n, width) @ mixing for i, n in enumerate(counts)]
    return inputs, [normal(seed + 50 + i, out, width) for i in range(len(counts))]


def regress(inputs, weights, alpha):
    regression = LayerRegression(sum(weights) / len(weights), alpha)
    for x, w in zip(inputs, weights, strict=True):
        gram = GramSum(x.shape[-1], CPU)
        gram.add(x)
        regression.add(gram.total(), w, gram.rows)
    return regression.solve()


def least_squares(inputs, weights, rcond=None):
    """The smallest deviation from the average that minimises sum_i |X_i (W - W_i)^T|^2 / n_i."""
    average = sum(weights).numpy() / len(weights)
    left = np.concatenate([x.numpy() / np.sqrt(len(x)) for x in inputs])
    right = np.concatenate(
        [x.numpy() @ (w.numpy() - average).T / np.sqrt(len(x)) for x, w in zip(inputs, weights, strict=True)]
    )
    return average + np.linalg.lstsq(left, right, rcond=rcond)[0].T


def test_gram_is_x_transposed_x_over_all_batches():
    batches = [normal(0, 2, 5, 4), normal(1, 3, 4), normal(2, 1, 7, 2, 4)]
    gram = GramSum(4, CPU)
    for batch in batches:
        gram.add(batch)
    rows = np.concatenate([b.numpy().reshape(-1, 4) for b in batches])
    assert gram.rows == len(rows) == 27
    np.testing.assert_allclose(gram.total().numpy(), rows.T @ rows, rtol=1e-12)


@pytest.mark.parametrize("width", [1, UNDIVIDED - 1, UNDIVIDED, UNDIVIDED + 1, 2 * UNDIVIDED + 1, 700])
def test_the_half_that_is_computed_makes_the_whole(width):
    batches = [normal(width, 30, width), normal(width + 1, 1, width)]
    gram = GramSum(width, CPU)
    for batch in batches:
        gram.add(batch)
        gram.total()  # a look at it in between does no harm
    rows = torch.cat(batches).numpy()
    np.testing.assert_allclose(gram.total().numpy(), rows.T @ rows, rtol=1e-12, atol=1e-12)


def test_a_cleared_gram_begins_anew():
    gram = GramSum(400, CPU)
    gram.add(normal(0, 9, 400))
    gram.total()
    gram.clear()
    assert gram.rows == 0
    assert not gram.total().any()
    gram.add(normal(1, 5, 400))
    np.testing.assert_allclose(gram.total().numpy(), (normal(1, 5, 400).T @ normal(1, 5, 400)).numpy(), atol=1e-12)


def test_gram_of_nothing_is_zero_and_so_is_its_weight():
    gram = GramSum(3, CPU)
    assert gram.total().tolist() == [[0.0] * 3] * 3
    inputs, weights = problem(width=3)
    regression = LayerRegression(sum(weights) / 3, 0.5)
    regression.add(gram.total(), weights[0], gram.rows)
    torch.testing.assert_close(regression.solve().weight, sum(weights) / 3)


def test_sums_over_many_single_precision_batches_do_not_lose_digits():
    gram = GramSum(1, CPU)
    batch = torch.tensor([[0.1]], dtype=torch.float32)
    for _ in range(20_000):
        gram.add(batch)
    exact = float(np.float64(np.float32(0.1)) ** 2)
    assert gram.total().item() / gram.rows == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_one_is_least_squares_on_the_stacked_problem(seed):
    inputs, weights = problem(seed)
    solution = regress(inputs, weights, 1.0)
    np.testing.assert_allclose(solution.weight.numpy(), least_squares(inputs, weights), rtol=1e-6, atol=1e-6)


def test_rows_of_an_expert_with_more_of_them_weigh_no_more():
    inputs, weights = problem()
    unweighted = np.linalg.lstsq(
        torch.cat(inputs).numpy(),
        torch.cat([x @ w.T for x, w in zip(inputs, weights, strict=True)]).numpy(),
        rcond=None,
    )[0].T
    merged = regress(inputs, weights, 1.0).weight.numpy()
    assert not np.allclose(merged, unweighted, rtol=1e-3, atol=1e-3)
    repeated = regress([inputs[0].repeat(4, 1), *inputs[1:]], weights, 1.0).weight.numpy()
    np.testing.assert_allclose(repeated, merged, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.6, 0.95, 1.0])
def test_the_published_formula(alpha):
    inputs, weights = problem(3)
    left = right = 0
    for x, w in zip(inputs, weights, strict=True):
        gram = x.numpy().T @ x.numpy() / len(x)
        shrunk = np.where(np.eye(len(gram)) == 1, gram, alpha * gram)
        left, right = left + shrunk, right + shrunk @ w.numpy().T
    expected = (np.linalg.inv(left) @ right).T
    np.testing.assert_allclose(regress(inputs, weights, alpha).weight.numpy(), expected, rtol=1e-6, atol=1e-6)


SEEDS = st.integers(0, 10**5)


@given(SEEDS, st.integers(1, 4), st.integers(1, 6))
def test_alpha_zero_is_a_mean_of_columns_weighted_by_their_power(seed, experts, width):
    inputs, weights = problem(seed, width=width, out=3, counts=(9, 20, 14, 7)[:experts])
    power = torch.stack([x.square().mean(0) for x in inputs])[:, None, :]
    expected = (power * torch.stack(weights)).sum(0) / power.sum(0)
    torch.testing.assert_close(regress(inputs, weights, 0.0).weight, expected, rtol=1e-7, atol=1e-9)


@given(SEEDS, st.floats(0, 1), st.floats(1e-3, 1e3))
def test_the_scale_of_all_inputs_together_does_not_matter(seed, alpha, scale):
    inputs, weights = problem(seed)
    first = regress(inputs, weights, alpha).weight
    torch.testing.assert_close(regress([scale * x for x in inputs], weights, alpha).weight, first, rtol=1e-5, atol=1e-6)


@given(SEEDS, st.floats(0, 1), st.permutations(range(3)))
def test_the_order_of_the_experts_matters_to_rounding_only(seed, alpha, order):
    inputs, weights = problem(seed)
    first = regress(inputs, weights, alpha).weight
    turned = regress([inputs[i] for i in order], [weights[i] for i in order], alpha).weight
    torch.testing.assert_close(turned, first, rtol=1e-6, atol=1e-7)


@given(SEEDS, st.floats(0, 1), st.integers(1, 12), st.integers(1, 4))
def test_equal_weights_come_back_whatever_the_inputs(seed, alpha, rank, copies):
    inputs, weights = problem(seed, rank=rank, counts=(30, 8, 50, 20)[:copies])
    merged = regress(inputs, [weights[0]] * copies, alpha).weight
    torch.testing.assert_close(merged, weights[0], rtol=1e-10, atol=1e-10)


@given(SEEDS, st.integers(2, 12), st.integers(0, 11))
def test_no_other_weight_fits_better(seed, rank, column):
    inputs, weights = problem(seed, rank=rank)

    def loss(weight):
        return sum(((x @ (weight - w).T) ** 2).sum() / len(x) for x, w in zip(inputs, weights, strict=True)).item()

    best = regress(inputs, weights, 1.0).weight
    for step in (-1e-2, 1e-2):
        moved = best.clone()
        moved[0, column] += step
        assert loss(best) <= loss(moved) * (1 + 1e-7)


@pytest.mark.parametrize("rank", [1, 6, 10, 11])
def test_directions_no_input_reaches_stay_at_the_average(rank):
    # Whether rounding leaves a singular Gram's last pivots above or below zero is chance: hence many problems.
    for seed in range(20):
        inputs, weights = problem(seed, rank=rank)
        merged = regress(inputs, weights, 1.0)
        expected = least_squares(inputs, weights, rcond=1e-9)
        np.testing.assert_allclose(merged.weight.numpy(), expected, rtol=1e-6, atol=1e-6, err_msg=f"seed {seed}")
        assert merged.condition > 1e12


@pytest.mark.parametrize("rank", [6, 11])
def test_single_precision_inputs_move_unseen_directions_no_further_than_the_experts_do(rank):
    # Rounding gives such inputs a faint part in every direction; it must not be amplified into weights.
    for seed in range(20):
        inputs, weights = problem(seed, rank=rank, counts=(400, 300, 500))
        average = sum(weights) / len(weights)
        unseen = torch.eye(12, dtype=torch.float64) - torch.linalg.pinv(inputs[0], rtol=1e-6) @ inputs[0]
        merged = regress([x.float() for x in inputs], weights, 1.0).weight
        spread = max(((w - average) @ unseen).norm() for w in weights)
        assert ((merged - average) @ unseen).norm() <= spread, f"seed {seed}"


def test_inputs_that_are_all_zero_leave_the_average():
    weights = [normal(i, 4, 6) for i in range(3)]
    solution = regress([torch.zeros(10, 6, dtype=torch.float64)] * 3, weights, 0.95)
    assert torch.equal(solution.weight, sum(weights) / 3)
    assert solution.condition == float("inf")


def test_a_feature_that_is_always_zero_leaves_its_column_at_the_average():
    inputs, weights = problem(width=6)
    for x in inputs:
        x[:, 2] = 0
    merged = regress(inputs, weights, 0.95).weight
    torch.testing.assert_close(merged[:, 2], sum(weights)[:, 2] / 3, rtol=1e-9, atol=1e-9)
    others = [0, 1, 3, 4, 5]
    alone = regress([x[:, others] for x in inputs], [w[:, others] for w in weights], 0.95).weight
    torch.testing.assert_close(merged[:, others], alone, rtol=1e-5, atol=1e-6)


def with_spectrum(values, seed=0):
    basis = torch.linalg.qr(normal(seed, len(values), len(values))).Q
    matrix = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T
    return (matrix + matrix.T) / 2, basis


@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-6, 1e-9])
def test_definite_matrices_are_solved_as_exactly_as_their_condition_allows(smallest):
    matrix, _ = with_spectrum([3.0, 2.0, 1.0, 0.5, smallest])
    wanted = normal(7, 5, 3)
    found, condition = solve_positive(matrix, matrix @ wanted)
    assert (found - wanted).abs().max() < 1e-14 * condition
    exact = np.linalg.cond(matrix.numpy(), p=1)
    assert exact / 10 <= condition <= exact * 1.01


@pytest.mark.parametrize("smallest", [0.0, 1e-19, 1e-17, 1e-16])
def test_matrices_singular_to_working_precision_give_the_smallest_solution(smallest):
    for seed in range(20):
        matrix, basis = with_spectrum([3.0, 2.0, 1.0, 0.5, smallest], seed)
        seen = basis[:, :4] @ basis[:, :4].T
        wanted = seen @ normal(seed + 7, 5, 3)
        found, condition = solve_positive(matrix, matrix @ wanted)
        assert condition > 1e12
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


def test_the_zero_matrix_gives_zero():
    found, condition = solve_positive(torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64))
    assert found.tolist() == [[0.0, 0.0]] * 3
    assert condition == float("inf")


@pytest.mark.parametrize("size", [1, 2, 8, 40])
@pytest.mark.parametrize("seed", range(3))
def test_condition_is_numpys_within_lapacks_estimate(size, seed):
    rows = normal(seed, 3 * size, size) * torch.logspace(0, 2, size, dtype=torch.float64)
    matrix = rows.T @ rows
    _, condition = solve_positive(matrix, torch.ones(size, 1, dtype=torch.float64))
    exact = np.linalg.cond(matrix.numpy(), p=1)
    assert exact / 10 <= condition <= exact * (1 + 1e-6)


def test_neither_argument_is_changed():
    matrix, _ = with_spectrum([2.0, 1.0, 0.0])
    right = normal(1, 3, 2)
    copies = matrix.clone(), right.clone()
    solve_positive(matrix, right)
    assert torch.equal(matrix, copies[0])
    assert torch.equal(right, copies[1])
