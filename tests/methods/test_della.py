"""DELLA: what is kept how often, how much is left, and the combination written out entry by entry."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.methods.della import drop_by_magnitude, keep_probabilities


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_probabilities_by_hand():
    vector = torch.tensor([[0.1, -3.0, 2.0], [5.0, 0.0, -0.2]], dtype=torch.float64)
    expected = torch.tensor([[0.4, 0.8, 0.6], [0.8, 0.4, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(keep_probabilities(vector, 0.6, 0.2), expected)
    torch.testing.assert_close(keep_probabilities(vector[:, :1], 0.6, 0.2), torch.full((2, 1), 0.6).double())


def test_entries_are_kept_as_often_as_their_rank_says():
    vector = normal(0, 1, 40)
    generator = torch.Generator().manual_seed(0)
    kept = sum((drop_by_magnitude(vector, 0.5, 0.3, generator) != 0).double() for _ in range(4000)) / 4000
    # Four standard deviations of a share of 4,000.
    assert (kept - keep_probabilities(vector, 0.5, 0.3)).abs().max() < 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize("shape", [(6, 5), (7,), (4, 3, 2, 2)])
def test_what_is_left_has_the_magnitude_of_the_whole_and_its_signs(shape):
    vector = normal(1, *shape)
    left = drop_by_magnitude(vector, 0.5, 0.1, torch.Generator().manual_seed(3))
    assert left.shape == vector.shape
    torch.testing.assert_close(left.abs().sum(), vector.abs().sum())
    assert ((left == 0) | (left.sign() == vector.sign())).all()
    ratios = (left / vector)[left != 0]
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))


def test_nothing_is_left_of_nothing():
    nothing = torch.zeros(3, 4)
    assert torch.equal(drop_by_magnitude(nothing, 0.5, 0.1, torch.Generator()), nothing)
    assert torch.equal(drop_by_magnitude(nothing + 1, 0.0, 0.0, torch.Generator()), nothing)


def test_with_nothing_dropped_signs_are_elected_and_what_agrees_is_averaged(mini):
    base = mini.encoder(dtype=torch.float64)
    experts, start = mini.experts(base), base.state_dict()
    merged = mergebench.merge("della", base, experts, density=1.0, scaling=0.6)
    for name, value in start.items():
        vectors = np.stack([(e[name] - value).numpy() for e in experts.values()])
        agreeing = vectors * np.sign(vectors.sum(0)) > 0
        mean = (vectors * agreeing).sum(0) / agreeing.sum(0)
        np.testing.assert_allclose(merged[name].numpy(), value.numpy() + 0.6 * mean, rtol=1e-9, atol=1e-12)


def test_the_draw_depends_on_the_seed_and_not_on_who_else_is_there(mini):
    base = mini.encoder()
    experts, start = mini.experts(base), base.state_dict()
    one, again, other = (mini.run("della", base, experts, seed=seed)[0] for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in start)
    assert any(not torch.equal(one[name], other[name]) for name in start)
    alone = {task: mini.run("della", base, {task: experts[task]})[0] for task in experts}
    kept = {task: {n: merged[n] != start[n] for n in start} for task, merged in alone.items()}
    pair = dict(list(experts.items())[:2])
    both = mini.run("della", base, pair)[0]
    for name in start:
        moved = both[name] != start[name]
        assert not (moved & ~(kept[list(pair)[0]][name] | kept[list(pair)[1]][name])).any()


@pytest.mark.parametrize(("density", "epsilon"), [(0.1, 0.2), (0.9, 0.15)])
def test_probabilities_beyond_their_range_are_refused_with_the_remedy(mini, density, epsilon):
    base = mini.encoder()
    with pytest.raises(HyperparameterError, match="take epsilon=0.1 or less"):
        mergebench.merge("della", base, mini.experts(base), density=density, epsilon=epsilon)


def test_values_out_of_range_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="density"):
        mergebench.merge("della", base, mini.experts(base), density=1.2)
