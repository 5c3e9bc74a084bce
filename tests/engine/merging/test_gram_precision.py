"""Sums in float32 where the shrinking of off-diagonals bears them, held to float64; and where it does not."""

import pytest
import torch

from mergebench.merging.least_squares import SHRUNK_ENOUGH, GramSum, LayerRegression, precision_of

CPU = torch.device("cpu")


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(kind, width, seed):
    """Rows as layers have them, or worse."""
    rows = normal(seed, 300, width)
    if kind == "few":  # fewer rows than directions
        return rows[:20]
    if kind == "one":
        return rows[:1]
    if kind == "alike":  # nearly all of it one direction, as behind a norm
        return rows * 0.01 + normal(seed + 1, width)
    if kind == "scales":  # channels from 0.01 to 100, as massive activations make them
        return rows * torch.logspace(-2, 2, width, dtype=torch.float64)
    if kind == "low rank":
        return rows[:, :8] @ normal(seed + 2, 8, width)
    if kind == "dead":  # channels that are never on
        return rows * (torch.arange(width) % 3 > 0)
    return rows


def merged(kind, alpha, dtype, width=260, tasks=4, ridge=0.0):
    weights = [normal(5, 40, width) + 0.1 * normal(10 + t, 40, width) for t in range(tasks)]
    regression = LayerRegression(sum(weights).to(dtype) / tasks, alpha, ridge, dtype)
    for task, weight in enumerate(weights):
        gram = GramSum(width, CPU, dtype)
        # The layers' inputs are float32 numbers in any case.
        for batch in inputs(kind, width, 100 * task).float().split(64):
            gram.add(batch)
        regression.add(gram.total(), weight, gram.rows)
    return regression.solve()


KINDS = ["plain", "few", "one", "alike", "scales", "low rank", "dead"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, SHRUNK_ENOUGH])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_sums_in_float32_give_what_float64_gives(kind, alpha, ridge):
    assert precision_of(alpha, 300, 260) == torch.float32
    fast, plain = (merged(kind, alpha, dtype, ridge=ridge) for dtype in (torch.float32, torch.float64))
    assert torch.linalg.matrix_norm(fast.weight - plain.weight) < 1e-5 * torch.linalg.matrix_norm(plain.weight)
    assert fast.condition == pytest.approx(plain.condition, rel=1e-3)


@pytest.mark.parametrize("alpha", [SHRUNK_ENOUGH + 1e-9, 0.99, 1.0])
def test_less_shrinking_is_summed_in_float64(alpha):
    assert precision_of(alpha, 10_000, 768) == torch.float64


def test_fewer_rows_than_features_are_summed_in_float64():
    assert precision_of(0.5, 767, 768) == torch.float64
    assert precision_of(0.5, 768, 768) == torch.float32


def test_float32_would_not_do_without_shrinking():
    """What the rule is for: along directions that no input takes, rounding would be solved for."""
    fast, plain = (merged("low rank", 1.0, dtype) for dtype in (torch.float32, torch.float64))
    assert torch.linalg.matrix_norm(fast.weight - plain.weight) > 1e-3 * torch.linalg.matrix_norm(plain.weight)
