"""Paired statements about rows, against SciPy's tests, a plain bootstrap and simulations with a known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.pairs import Pairs


def outcomes(*seeds):
    """From each seed's {task: right [N]}."""
    return Outcomes.of_hits(dict(enumerate(seeds)))


def drawn(rng, rates, images, seed_noise=0.0, seeds=1):
    """Rows of these rates [K][T] on images that are easy or hard for all: rows of one benchmark go together."""
    ease = {t: rng.random(images) for t in range(len(rates[0]))}
    effects = seed_noise * rng.standard_normal((seeds, len(rates)))
    return [
        outcomes(*({f"t{t}": ease[t] < rate + effects[s, k] for t, rate in enumerate(of)} for s in range(seeds)))
        for k, of in enumerate(rates)
    ]


def test_with_one_task_it_is_the_paired_t_test_that_scipy_knows():
    rng = np.random.default_rng(0)
    for images in (5, 40, 800):
        ours, theirs = (rng.random(images) < rate for rate in (0.6, 0.7))
        pairs = Pairs([outcomes({"a": ours}), outcomes({"a": theirs})])
        assert pairs.difference[0, 1] == pytest.approx(ours.mean() - theirs.mean())
        assert pairs.p[0, 1] == pytest.approx(ttest_rel(ours.astype(float), theirs.astype(float)).pvalue)
        assert pairs.p[1, 0] == pairs.p[0, 1] and pairs.difference[1, 0] == -pairs.difference[0, 1]


def test_over_seeds_alone_it_is_the_paired_t_test_of_their_averages():
    # Images all alike within a seed: nothing varies but the seeds.
    rights = [[1, 1, 0, 1], [0, 1, 0, 0]]
    rows = [outcomes(*({"a": np.full(50, bool(right))} for right in of)) for of in rights]
    pairs = Pairs(rows)
    assert pairs.p[0, 1] == pytest.approx(ttest_rel(*rights).pvalue, rel=1e-9)


def test_what_seeds_usually_vary_counts_beside_what_they_vary_of_a_pair():
    rng = np.random.default_rng(2)
    averages = rng.random((4, 3)).round(2)
    averages[3] = averages[3, 0]  # seeds change nothing of this one
    rows = [outcomes(*({"a": np.arange(100) < 100 * value} for value in of)) for of in averages]
    pairs = Pairs([outcomes(*({"a": np.full(50, bool(v))} for v in (1, 0, 1)))] * 2)
    assert pairs.variance[0, 1] == 0  # two rows alone have nothing beside them
    averages = np.array([list(row.averages.values()) for row in rows])
    usual = averages[:3].var(axis=1, ddof=1).mean() / 3
    of_images = [[(a.shares["a"] - b.shares["a"]).var(ddof=1) / 100 for b in rows] for a in rows]
    own = (averages[0] - averages[1]).var(ddof=1) / 3
    found = Pairs(rows).variance - of_images
    assert found[0, 1] == pytest.approx((4 * 2 * usual + 2 * own) / 6)
    own = averages[0].var(ddof=1) / 3
    assert found[0, 3] == pytest.approx((4 * usual + 2 * own) / 6)


def test_rows_with_other_seeds_are_held_against_each_other_by_the_welch_test():
    rng = np.random.default_rng(1)
    three, one = (outcomes(*({"a": np.full(30, right)} for right in rng.random(n) < 0.5)) for n in (5, 1))
    averages = np.array(list(three.averages.values()))
    pairs = Pairs([three, one])
    assert averages.std() > 0
    assert pairs.variance[0, 1] == pytest.approx(averages.var(ddof=1) / 5)  # the one seed has no variance to add


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 3), st.integers(3, 30))
@settings(max_examples=30, deadline=None)
def test_all_pairs_at_once_are_what_each_pair_is_alone(seed, rows, tasks, images):
    rng = np.random.default_rng(seed)
    found = drawn(rng, rng.random((rows, tasks)), images)
    pairs = Pairs(found)
    for i in range(rows):
        for j in range(rows):
            alone = Pairs([found[i], found[j]])
            assert pairs.p[i, j] == pytest.approx(alone.p[0, 1] if i != j else 1.0, rel=1e-6, abs=1e-12)
    averages = [np.mean([one.shares[f"t{t}"].mean() for t in range(tasks)]) for one in found]
    np.testing.assert_allclose(pairs.difference, np.subtract.outer(averages, averages), atol=1e-12)


def test_rows_that_agree_image_by_image_do_not_differ_and_those_that_never_do_surely_do():
    right = np.random.default_rng(0).random(100) < 0.7
    pairs = Pairs([outcomes({"a": right}), outcomes({"a": right}), outcomes({"a": np.ones(100, bool)})])
    assert pairs.p[0, 1] == 1 and pairs.variance[0, 1] == 0
    apart = Pairs([outcomes({"a": np.ones(100, bool)}), outcomes({"a": np.zeros(100, bool)})])
    assert apart.p[0, 1] == 0 and apart.interval(100)[0][0, 1] == 1


def test_the_interval_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(3)
    ours, theirs = drawn(rng, [(0.5, 0.8), (0.55, 0.7)], 400)
    low, high = (end[0, 1] for end in Pairs([ours, theirs]).interval(10_000))
    plain = []
    for _ in range(10_000):
        parts = []
        for task in ("t0", "t1"):
            picked = rng.integers(400, size=400)
            parts.append((ours.shares[task][picked] - theirs.shares[task][picked]).mean())
        plain.append(np.mean(parts))
    assert (low, high) == pytest.approx(np.quantile(plain, (0.025, 0.975)), abs=0.002)


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_task_has_the_interval_that_it_has_alone_from_the_draws_of_the_average(seeds):
    rows = drawn(np.random.default_rng(4), [(0.5, 0.8), (0.55, 0.7)], 300, 0.03 * (seeds > 1), seeds)
    pairs = Pairs(rows)
    whole, of_tasks = pairs.intervals(4000)
    np.testing.assert_array_equal(whole, pairs.interval(4000))
    alone = [Pairs([row.of_task(task) for row in rows]).interval(4000) for task in ("t0", "t1")]
    if seeds == 1:  # with several, what seeds draw comes after the last task's images
        np.testing.assert_array_equal(of_tasks[0], alone[0])
    np.testing.assert_allclose(of_tasks, alone, atol=0.004 * seeds)


def test_it_is_the_same_at_every_call_and_mirrored():
    pairs = Pairs(drawn(np.random.default_rng(0), [(0.5,), (0.6,), (0.7,)], 50, 0.05, seeds=3))
    low, high = pairs.interval(500)
    np.testing.assert_array_equal(pairs.interval(500)[0], low)
    np.testing.assert_array_equal(low, -high.T)
    assert (low <= pairs.difference + 1e-9).all() and (pairs.difference <= high + 1e-9).all()


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_cover_a_known_difference_and_p_values_are_small_as_rarely_as_they_say(seeds):
    # 300 of each; the whole simulation is in benchmarks/coverage.py.
    rng, hits, rejected = np.random.default_rng(seeds), 0, 0
    for _ in range(300):
        pairs = Pairs(drawn(rng, [(0.5, 0.7, 0.6), (0.6, 0.6, 0.6)], 80, 0.02 * (seeds > 1), seeds))
        low, high = (end[0, 1] for end in pairs.interval(400))
        hits += low <= 0 <= high
        rejected += pairs.p[0, 1] < 0.05
    assert 0.91 <= hits / 300 <= 0.99  # three standard deviations about 95 %
    assert 0.01 <= rejected / 300 <= 0.09


@pytest.mark.parametrize("many", [{}, {"b": np.array([1, 0, 1])}])
def test_of_one_image_and_one_seed_nothing_is_told_apart(many):
    pairs = Pairs([outcomes({"a": np.array([right]), **many}) for right in (1, 0)])
    assert pairs.difference[0, 1] > 0 and pairs.p[0, 1] == 1
    low, high = pairs.interval(100)
    assert (low[0, 1], high[0, 1]) == (-1, 1) and low[0, 0] == high[0, 0] == 0


def test_of_one_image_seeds_tell_what_varies():
    rights = [[1, 1, 0, 1], [0, 1, 0, 0]]
    pairs = Pairs([outcomes(*({"a": np.array([bool(right)])} for right in of)) for of in rights])
    assert pairs.p[0, 1] == pytest.approx(ttest_rel(*rights).pvalue, rel=1e-9)
    low, high = pairs.interval(1000)
    assert low[0, 1] < pairs.difference[0, 1] < high[0, 1]


def test_no_interval_ends_beyond_what_averages_can_differ_by():
    ours, *theirs = (
        outcomes(*({"a": np.array(right, bool)} for right in seeds)) for seeds in ([(1, 1, 0)], [(0, 0, 1), (0, 1, 1)])
    )
    low, high = Pairs([ours, *theirs]).interval(1000)
    assert (low[0, 1], high[0, 1]) == (-1, 1)
