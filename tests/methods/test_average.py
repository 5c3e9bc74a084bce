"""Simple averaging."""

import numpy as np
import pytest
import torch

import mergebench


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
