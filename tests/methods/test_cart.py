"""CART: against NumPy's decomposition of every expert's distance from the mean."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError


def leading(matrix, rank):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return sum(s[i] * np.outer(u[:, i], vt[i]) for i in range(rank))


def cart(experts, share):
    """The sum of what is added to the mean of matrices, in a list."""
    mean = sum(experts) / len(experts)
    rank = max(1, int(share * min(mean.shape)))
    return sum(leading(e - mean, rank) for e in experts)


@pytest.mark.parametrize("tasks", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"rank": 0.4, "scaling": 0.7}, {"rank": 0.0}, {"qkv": "apart", "rank": 0.3}])
def test_linear_layers_get_the_leading_parts_and_all_else_is_averaged(mini, tasks, settings):
    base = mini.encoder(dtype=torch.float64)
    experts = dict(list(mini.experts(base).items())[:tasks])
    merged = mergebench.merge("cart", base, experts, **settings)
    layers = 0
    for name in base.state_dict():
        values = [e[name].numpy() for e in experts.values()]
        expected = sum(values) / tasks
        if name.startswith("blocks.") and values[0].ndim == 2:
            layers += 1
            apart = 3 if name.endswith("qkv.weight") and settings.get("qkv") == "apart" else 1
            parts = zip(*(np.split(v, apart) for v in values), strict=True)
            added = np.concatenate([cart(list(part), settings.get("rank", 0.12)) for part in parts])
            expected = expected + settings.get("scaling", 2.0) * added
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-9, atol=1e-10, err_msg=name)
    assert layers == 4 * len(base.blocks)


def test_at_full_rank_the_mean_is_left(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged, mean = (mergebench.merge(m, base, experts, **s) for m, s in (("cart", {"rank": 1.0}), ("average", {})))
    for name, value in mean.items():
        torch.testing.assert_close(merged[name], value, rtol=0, atol=1e-12)


def test_the_base_is_not_read(mini):
    base, other = mini.encoder(), mini.encoder(seed=5)
    experts = mini.experts(base)
    one, two = mergebench.merge("cart", base, experts), mergebench.merge("cart", other, experts)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_equal_experts_come_back_from_any_format(mini):
    base = mini.encoder(dtype=torch.float16)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("cart", base, {"cars": expert, "birds": dict(expert)}, scaling=3.0)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"rank": 1.5}, {"scaling": -1}, {"qkv": "split"}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("cart", base, mini.experts(base), **wrong)
