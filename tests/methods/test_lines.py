"""LiNeS on three inner methods: every block's factor by hand, and what the start's own scale leaves unchanged."""

import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError

STARTS = {
    "task_arithmetic": {"scaling": 1.0},
    "ties": {"density": 0.4, "scaling": 0.8},
    "tsv_m": {},
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("depth", [1, 3])
def test_each_block_has_its_factor_and_all_else_the_means(mini, start, depth):
    base = mini.encoder(dtype=torch.float64, depth=depth)
    experts, theta = mini.experts(base), base.state_dict()
    settings = {"start": start, "start_settings": STARTS[start], "slope": 0.7}
    merged, pool = mini.run("lines", base, experts, **settings)
    begun = mergebench.merge(start, base, experts, **STARTS[start])
    total = sum(sum(e[n] - theta[n] for e in experts.values()).abs().sum() for n in theta)
    factor = total / sum((begun[n] - theta[n]).abs().sum() for n in theta)
    assert pool.diagnostics["factor"] == pytest.approx(factor.item(), rel=1e-9)
    if start == "task_arithmetic":
        assert factor == pytest.approx(1)
    for name, value in theta.items():
        share = 1 / len(experts)
        if name.startswith("blocks.") and depth > 1:
            share += 0.7 * int(name.split(".")[1]) / (depth - 1)
        expected = value + factor * share * (begun[name] - value)
        torch.testing.assert_close(merged[name], expected, rtol=1e-9, atol=1e-10)


def test_the_starts_own_scale_does_not_matter(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    one, two = (
        mergebench.merge("lines", base, experts, start_settings={"scaling": scaling}) for scaling in (1.0, 0.05)
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-10)


def test_without_a_slope_task_arithmetic_gives_the_average(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged, mean = mergebench.merge("lines", base, experts, slope=0.0), mergebench.merge("average", base, experts)
    for name, value in mean.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-9, atol=1e-10)


def test_experts_that_changed_nothing_change_nothing(mini):
    base = mini.encoder()
    same = base.state_dict()
    merged = mergebench.merge("lines", base, {"a": same, "b": same})
    assert all(torch.equal(merged[name], value) for name, value in same.items())


@pytest.mark.parametrize("wrong", [{"slope": -1}, {"start": "linez"}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=str(next(iter(wrong.values()))) if "start" in wrong else "slope"):
        mergebench.merge("lines", base, mini.experts(base), **wrong)
