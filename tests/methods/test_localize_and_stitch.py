"""Localize-and-Stitch: entry by entry in loops, and the ends of what may be kept."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError


@pytest.mark.parametrize("density", [0.05, 0.1, 0.7])
def test_against_loops_over_all_entries(mini, density):
    base = mini.encoder(dtype=torch.float64)
    experts, theta = mini.experts(base), base.state_dict()
    names = list(theta)
    joined = [np.concatenate([(e[n] - theta[n]).numpy().ravel() for n in names]) for e in experts.values()]
    kept = int(density * joined[0].size)
    masks = [np.abs(v) >= np.sort(np.abs(v))[-kept] for v in joined]
    added = sum(m * v for m, v in zip(masks, joined, strict=True)) / np.maximum(1, sum(m.astype(int) for m in masks))
    assert sum(masks).max() > 1, "some entries are kept by several tasks"
    merged = mergebench.merge("localize_and_stitch", base, experts, density=density)
    found = np.concatenate([(merged[n] - theta[n]).numpy().ravel() for n in names])
    np.testing.assert_allclose(found, added, rtol=1e-9, atol=1e-12)


def test_all_entries_make_the_average_and_none_the_base(mini):
    base = mini.encoder(dtype=torch.float64)
    experts, theta = mini.experts(base), base.state_dict()
    mean = mergebench.merge("average", base, experts)
    whole = mergebench.merge("localize_and_stitch", base, experts, density=1.0)
    nothing = mergebench.merge("localize_and_stitch", base, experts, density=0.0)
    for name, value in theta.items():
        torch.testing.assert_close(whole[name], mean[name], rtol=1e-9, atol=1e-12)
        assert torch.equal(nothing[name], value)


def test_cuts_do_not_show(mini, monkeypatch):
    base = mini.encoder()
    experts = mini.experts(base)
    whole = mergebench.merge("localize_and_stitch", base, experts)
    monkeypatch.setattr("mergebench.methods.sparsify.CUT", 100)
    cut = mergebench.merge("localize_and_stitch", base, experts)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_values_out_of_range_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="density"):
        mergebench.merge("localize_and_stitch", base, mini.experts(base), density=1.1)
