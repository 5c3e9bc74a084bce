"""Simple averaging, plain and weighted."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.errors import HyperparameterError
from mergebench.merging.hyperparameters import parse_assignments
from mergebench.methods.average import shares


def test_it_is_the_mean_of_the_experts(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("average", base, experts)
    for name in base.state_dict():
        expected = np.mean([e[name].numpy() for e in experts.values()], axis=0)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-12, atol=1e-14)


def test_half_precision_experts_are_averaged_in_single_precision(mini):
    base = mini.encoder(dtype=torch.float16)
    experts = mini.experts(base)
    merged = mergebench.merge("average", base, experts)
    for name in base.state_dict():
        # In half precision the sum of three is rounded before it is divided; the mean must be rounded once, at the end.
        exact = sum(e[name].double() for e in experts.values()) / 3
        assert torch.equal(merged[name], exact.to(torch.float16)), name


@pytest.mark.parametrize("copies", [1, 2, 3, 5])
def test_copies_of_one_expert_give_that_expert(mini, copies):
    base = mini.encoder()
    expert = mini.expert(base, 7)
    merged = mergebench.merge("average", base, {f"task{i}": expert for i in range(copies)})
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-8)


def test_weights_worked_by_hand(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("average", base, experts, weights={"digits": 3, "birds": 1, "cars": 0})
    for name in base.state_dict():
        expected = 0.25 * experts["birds"][name].numpy() + 0.75 * experts["digits"][name].numpy()
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-12, atol=1e-14)


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=3).filter(lambda w: sum(w) > 1e-3), st.floats(1e-3, 1e3))
def test_only_the_ratio_of_the_weights_matters_and_they_sum_to_one(weights, factor):
    tasks = ("a", "b", "c")
    parts = shares(dict(zip(tasks, weights, strict=True)), tasks)
    assert sum(parts) == pytest.approx(1)
    np.testing.assert_allclose(parts, np.array(weights) / np.sum(weights), rtol=1e-12)
    again = shares({t: factor * w for t, w in zip(tasks, weights, strict=True)}, tasks)
    np.testing.assert_allclose(parts, again, rtol=1e-9, atol=1e-300)


def test_equal_weights_are_the_plain_average(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    plain = mergebench.merge("average", base, experts)
    for name, value in mergebench.merge("average", base, experts, weights=dict.fromkeys(experts, 0.2)).items():
        torch.testing.assert_close(value, plain[name], rtol=1e-12, atol=1e-14)


def test_weighted_half_precision_experts_are_rounded_once(mini):
    base = mini.encoder(dtype=torch.float16)
    experts = mini.experts(base)
    merged = mergebench.merge("average", base, experts, weights={"birds": 1, "cars": 2, "digits": 5})
    for name in base.state_dict():
        exact = sum(w * experts[t][name].double() for t, w in (("birds", 0.125), ("cars", 0.25), ("digits", 0.625)))
        assert torch.equal(merged[name], exact.to(torch.float16)), name


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"birds": 1, "cars": 1, "digits": 1, "dogs": 1}, "'dogs', which is not merged; name birds, cars, digits"),
        ({"birds": 1, "cars": 1}, "lack 'digits'; give it one"),
        ({}, "lack 'birds'"),
        ({"birds": 1, "cars": -0.5, "digits": 1}, "'cars' is -0.5; give a number from 0"),
        ({"birds": 1, "cars": float("nan"), "digits": 1}, "'cars': nan.* is not finite"),
        ({"birds": 1, "cars": float("inf"), "digits": 1}, "'cars': inf.* is not finite"),
        ({"birds": 0, "cars": 0, "digits": 0}, "sum to 0; give at least one task more than 0"),
        ({"birds": "much", "cars": 0, "digits": 0}, "weights="),
        (3, "weights=3"),
    ],
)
def test_weights_that_mean_nothing_are_refused(mini, weights, message):
    base = mini.encoder()
    with pytest.raises(HyperparameterError, match=message):
        mergebench.merge("average", base, mini.experts(base), weights=weights)


def test_weights_are_read_from_a_command_line():
    assert parse_assignments(["weights={birds: 1, cars: 0.5}"]) == {"weights": {"birds": 1, "cars": 0.5}}
    assert parse_assignments(['weights={"birds":1,"cars":0.5}']) == {"weights": {"birds": 1, "cars": 0.5}}
