"""Task arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.errors import HyperparameterError
from mergebench.methods.task_arithmetic import add_task_vectors


def test_closed_form(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("task_arithmetic", base, experts, scaling=0.7)
    for name, start in base.state_dict().items():
        expected = start.numpy().copy()
        for expert in experts.values():
            expected += 0.7 * (expert[name].numpy() - start.numpy())
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-12, atol=1e-14)


def test_worked_by_hand():
    base = torch.tensor([1.0, -2.0])
    experts = torch.tensor([[2.0, -2.0], [1.0, 2.0], [5.0, -3.0]])
    # Task vectors (1, 0), (0, 4), (4, -1); their sum (5, 3); half of it on top of (1, -2).
    assert add_task_vectors(base, experts - base, 0.5).tolist() == [3.5, -0.5]


def test_scaling_zero_is_the_base(mini):
    base = mini.encoder()
    merged = mergebench.merge("task_arithmetic", base, mini.experts(base), scaling=0)
    assert all(torch.equal(merged[n], t) for n, t in base.state_dict().items())


@pytest.mark.parametrize("scaling", [[0.3, -0.5, 0], {"digits": 0, "birds": 0.3, "cars": -0.5}])
def test_a_scaling_for_every_task_may_take_some_away(mini, scaling):
    base = mini.encoder(dtype=torch.float64)
    birds, cars, _ = mini.experts(base).values()
    merged = mergebench.merge("task_arithmetic", base, mini.experts(base), scaling=scaling)
    for name, start in base.state_dict().items():
        expected = start.numpy() + 0.3 * (birds[name] - start).numpy() - 0.5 * (cars[name] - start).numpy()
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ([0.3], "task_arithmetic: scaling=.0.3. has 1 numbers"),
        ({"birds": 1, "cars": 1}, "scaling lacks 'digits'"),
        ({"birds": 1, "cars": 1, "digits": 1, "dogs": 1}, "scaling names 'dogs', which is not merged"),
        ({"birds": float("inf"), "cars": 1, "digits": 1}, "is not finite"),
        (True, "scaling=True is not a"),
    ],
)
def test_scalings_that_do_not_fit_the_tasks_are_refused(mini, scaling, message):
    base = mini.encoder()
    with pytest.raises(HyperparameterError, match=message):
        mergebench.merge("task_arithmetic", base, mini.experts(base), scaling=scaling)


def test_scaling_one_over_t_is_the_average(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("task_arithmetic", base, experts, scaling=1 / len(experts))
    average = mergebench.merge("average", base, experts)
    for name in merged:
        torch.testing.assert_close(merged[name], average[name], rtol=1e-12, atol=1e-13)


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(1, 5), st.integers(0, 10**6))
def test_linear_in_the_scaling(first, second, count, seed):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    vectors = torch.randn(count, 4, 3, generator=generator, dtype=torch.float64)

    def move(scaling):
        return add_task_vectors(base, vectors, scaling) - base

    torch.testing.assert_close(move(first) + move(second), move(first + second), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(first * move(1.0), move(first), rtol=1e-10, atol=1e-11)
