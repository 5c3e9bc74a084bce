"""DARE: each of the three merges on what the draw leaves."""

import numpy as np
import pytest
import torch

import mergebench

RATE = 0.25


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base, mini.experts(base)


def masks(pool, rate):
    """What a pool's draw drops, from the contract's words: a generator for every task and parameter."""
    shapes = pool.layout.shapes
    return {
        (t, n): (torch.rand(shapes[n], generator=pool.generator(t, n), dtype=torch.float64) >= rate).numpy()
        for t in pool.tasks
        for n in shapes
    }


@pytest.mark.parametrize("then", ["average", "task_arithmetic"])
@pytest.mark.parametrize("seed", [0, 1])
def test_sums_and_means_of_what_is_left(mini, case, then, seed):
    base, experts = case
    merged, pool = mini.run("dare", base, experts, seed=seed, rate=RATE, then=then, scaling=0.7)
    kept = masks(pool, RATE)
    for name, value in base.state_dict().items():
        start = value.numpy()
        left = [kept[t, name] * (e[name].numpy() - start) / (1 - RATE) for t, e in experts.items()]
        change = np.mean(left, axis=0) if then == "average" else 0.7 * np.sum(left, axis=0)
        np.testing.assert_allclose(merged[name].numpy(), start + change, rtol=1e-12, atol=1e-14)


def test_ties_on_what_is_left_is_ties_on_experts_made_of_it(mini, case):
    base, experts = case
    merged, pool = mini.run("dare", base, experts, rate=RATE, then="ties", scaling=0.4, density=0.3)
    kept, start = masks(pool, RATE), base.state_dict()
    thinned = {
        t: {n: start[n] + torch.from_numpy(kept[t, n]) * (e[n] - start[n]) / (1 - RATE) for n in start}
        for t, e in experts.items()
    }
    expected = mergebench.merge("ties", base, thinned, scaling=0.4, density=0.3)
    for name, value in expected.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-9, atol=1e-12)


def test_nothing_dropped_is_the_plain_method(case):
    base, experts = case
    for then in ("average", "task_arithmetic", "ties"):
        settings = {} if then == "average" else {"scaling": 0.3}
        plain = mergebench.merge(then, base, experts, **settings)
        for name, value in mergebench.merge("dare", base, experts, rate=0.0, then=then).items():
            torch.testing.assert_close(value, plain[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_a_rate_that_leaves_nothing_or_means_nothing_is_refused(case, rate):
    with pytest.raises(mergebench.errors.HyperparameterError, match="rate"):
        mergebench.merge("dare", *case, rate=rate)
