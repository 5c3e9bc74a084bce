"""The Karcher mean: where its gradient is zero, by a minimiser of its own, and where directions have none."""

import numpy as np
import pytest
import scipy.optimize
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.karcher import karcher_mean
from mergebench.methods.slerp import spherical


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_it_minimises_the_squared_angles(tasks):
    vectors = normal(0, 1, 5) + 0.6 * normal(1, tasks, 5)
    units = (vectors / vectors.norm(dim=1, keepdim=True)).numpy()

    def squares(point):
        return (np.arccos(np.clip(units @ point / np.linalg.norm(point), -1, 1)) ** 2).sum()

    best = scipy.optimize.minimize(squares, units.mean(0), method="BFGS", options={"gtol": 1e-10}).x
    best *= vectors.norm(dim=1).mean().item() / np.linalg.norm(best)
    np.testing.assert_allclose(karcher_mean(vectors, 50).numpy(), best, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(karcher_mean(vectors, 10).numpy(), best, rtol=1e-3, atol=1e-3)


def test_of_two_it_is_the_middle_of_their_arc():
    first, second = normal(2, 7), normal(3, 7)
    second *= first.norm() / second.norm()
    torch.testing.assert_close(karcher_mean(torch.stack([first, second]), 10), spherical(first, second, 0.5))


def test_what_has_no_direction_counts_in_the_length_alone():
    one = normal(4, 6)
    torch.testing.assert_close(karcher_mean(torch.stack([one, 0 * one]), 10), one / 2)
    assert torch.equal(karcher_mean(0 * normal(5, 3, 4), 10), torch.zeros(4, dtype=torch.float64))


def test_opposite_directions_give_one_of_them():
    one = normal(6, 5)
    found = karcher_mean(torch.stack([one, -one]), 10)
    torch.testing.assert_close(found.norm(), one.norm())
    assert torch.isfinite(found).all()


def test_every_tensor_is_merged_by_itself(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("karcher", base, experts)
    for name, value in merged.items():
        stack = torch.stack([e[name] for e in experts.values()])
        torch.testing.assert_close(value, karcher_mean(stack.flatten(1), 10).view(value.shape), rtol=1e-12, atol=0)


def test_values_out_of_range_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="steps"):
        mergebench.merge("karcher", base, mini.experts(base), steps=0)
