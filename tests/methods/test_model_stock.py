"""Model Stock: angles with known ratios, against NumPy, and its limits."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.methods.model_stock import mean_cosine, ratio


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        (rows([1.0, 0.0], [1.0, 3**0.5]), 2 / 3),  # 60 degrees: 2 cos / (1 + cos), cos = 1/2
        (rows([1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]), 3 / 4),  # three of 60 degrees: 1.5 / 2
        (rows([5.0, 0.0], [0.0, 0.1]), 0),  # right angle
        (rows([1.0, 0.0], [-1.0, 0.1]), 0),  # further apart: not beyond the base
        (rows([1.0, 0.0], [-1.0, 0.0]), 0),  # opposite: the formula has no value there
        (rows([1.0, 0.0], [0.0, 0.0]), 0),  # one did not move
        (rows([0.0, 0.0], [0.0, 0.0]), 0),
        (rows([1.0, 2.0], [2.0, 4.0]), 1),  # one direction
        (rows([1.0, 2.0]), 1),
        (rows([0.0, 0.0]), 1),
    ],
)
def test_ratios_of_known_angles(vectors, expected):
    assert ratio(mean_cosine(vectors), len(vectors)).item() == pytest.approx(expected, abs=1e-12)


def related(mini, base):
    """Experts that share half of their change, so that no cosine is near zero."""
    common, own = mini.expert(base, 50), mini.experts(base)
    return {t: {n: (e[n] + common[n]) / 2 for n in e} for t, e in own.items()}


@pytest.mark.parametrize("tasks", [2, 3])
def test_equals_a_numpy_implementation(mini, tasks):
    base = mini.encoder(dtype=torch.float64)
    experts = dict(list(related(mini, base).items())[:tasks])
    merged, pool = mini.run("model_stock", base, experts)
    for name, value in base.state_dict().items():
        start = value.numpy()
        vectors = [e[name].numpy() - start for e in experts.values()]
        cosines = [
            np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b)) for a, b in itertools.combinations(vectors, 2)
        ]
        cosine = max(0, np.mean(cosines))
        share = tasks * cosine / (1 + (tasks - 1) * cosine)
        assert pool.diagnostics["ratios"][name] == pytest.approx(share, rel=1e-9)
        mean = np.mean([e[name].numpy() for e in experts.values()], axis=0)
        np.testing.assert_allclose(merged[name].numpy(), share * mean + (1 - share) * start, rtol=1e-9, atol=1e-12)
    assert 0.3 < np.mean(list(pool.diagnostics["ratios"].values())) < 0.9


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_copies_of_one_expert_give_that_expert(mini, copies):
    base = mini.encoder()
    expert = mini.expert(base, 7)
    merged = mergebench.merge("model_stock", base, {f"task{i}": expert for i in range(copies)})
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-7)


def test_what_no_expert_changed_stays(mini):
    base = mini.encoder()
    start = base.state_dict()
    frozen = "blocks.0.attn.qkv.weight"
    experts = {t: {**e, frozen: start[frozen]} for t, e in mini.experts(base).items()}
    assert torch.equal(mergebench.merge("model_stock", base, experts)[frozen], start[frozen])


@given(st.integers(2, 6), st.integers(0, 10**6))
def test_the_ratio_is_between_base_and_average_whatever_the_lengths(count, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, 5, generator=generator, dtype=torch.float64) + 0.5
    lengths = torch.rand(count, 1, generator=generator, dtype=torch.float64) + 0.01
    share = ratio(mean_cosine(vectors), count)
    assert 0 <= share <= 1
    torch.testing.assert_close(ratio(mean_cosine(lengths * vectors), count), share)


@given(st.integers(2, 6), st.floats(0.01, 0.99))
def test_the_merged_point_is_the_foot_of_the_perpendicular_that_the_paper_asks_for(count, cosine):
    # Experts on a sphere around their centre c at right angles to each other, as seen from it; the base is the origin.
    # The point on the line from base to average that is nearest to c is t times the average.
    across = torch.eye(count, dtype=torch.float64)
    centre = torch.zeros(count + 1, dtype=torch.float64)
    centre[-1] = (cosine / (1 - cosine)) ** 0.5  # <a_i, a_j> = |c|^2, |a_i|^2 = |c|^2 + 1
    experts = torch.cat([across, torch.zeros(count, 1, dtype=torch.float64)], 1) + centre
    average = experts.mean(0)
    assert mean_cosine(experts).item() == pytest.approx(cosine)
    foot = (average @ centre) / (average @ average)
    assert ratio(mean_cosine(experts), count).item() == pytest.approx(foot.item())
