"""Consensus TA: by hand, against NumPy, with TIES, and its limits."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.methods.consensus import tall_masks


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base, mini.experts(base)


def numpy_mask(vectors, merged, selectivity, agreeing):
    """Entry by entry: do at least so many tasks find their own change in the merged one?"""
    votes = [
        sum(abs(v) >= selectivity * abs(m - v) for v in column) for column, m in zip(vectors.T, merged, strict=True)
    ]
    return np.array(votes) >= agreeing


def test_masks_worked_by_hand():
    # Three tasks, four entries; merged is their sum.
    vectors = torch.tensor([[2.0, 1.0, 4.0, 0.0], [2.0, -1.0, 0.5, 1.0], [2.0, 0.5, 0.5, -1.0]])
    merged = vectors.sum(0)  # 6, .5, 5, 0
    #   |merged - tau|:         4 .5 1 0 | 4 1.5 4.5 1 | 4 0 4.5 1
    assert tall_masks(vectors, merged, 0.5).tolist() == [
        [True, True, True, True],
        [True, True, False, True],
        [True, True, False, True],
    ]
    assert tall_masks(vectors, merged, 1.0).tolist() == [
        [False, True, True, True],
        [False, False, False, True],
        [False, True, False, True],
    ]


@pytest.mark.parametrize(("selectivity", "agreeing"), [(0.4, 2), (0.4, 3), (0.9, 2), (2.0, 1)])
def test_equals_a_numpy_implementation(case, selectivity, agreeing):
    base, experts = case
    merged = mergebench.merge("consensus_ta", base, experts, scaling=0.5, selectivity=selectivity, agreeing=agreeing)
    shares = []
    for name, value in base.state_dict().items():
        start = value.numpy().ravel()
        vectors = np.stack([e[name].numpy().ravel() - start for e in experts.values()])
        mask = numpy_mask(vectors, vectors.sum(0), selectivity, agreeing)
        shares.append(mask.mean())
        np.testing.assert_allclose(
            merged[name].numpy().ravel(), start + 0.5 * mask * vectors.sum(0), rtol=1e-12, atol=1e-14
        )
    assert 0.02 < np.mean(shares) < 0.98, "some entries are kept and some are not"


def test_with_ties_the_merged_vector_is_that_of_ties(case):
    base, experts = case
    merged = mergebench.merge("consensus_ta", base, experts, scaling=0.5, merged_by="ties", density=0.3)
    signed = mergebench.merge("ties", base, experts, scaling=1, density=0.3)
    for name, value in base.state_dict().items():
        start = value.numpy().ravel()
        vectors = np.stack([e[name].numpy().ravel() - start for e in experts.values()])
        total = signed[name].numpy().ravel() - start
        mask = numpy_mask(vectors, total, 0.4, 2)
        np.testing.assert_allclose(merged[name].numpy().ravel(), start + 0.5 * mask * total, rtol=1e-9, atol=1e-12)


def test_with_nothing_masked_it_is_task_arithmetic_or_ties(case):
    base, experts = case
    for plain, how in (("task_arithmetic", "sum"), ("ties", "ties")):
        expected = mergebench.merge(plain, base, experts)
        settings = {"selectivity": 0, "agreeing": 3, "merged_by": how}
        for name, value in mergebench.merge("consensus_ta", base, experts, **settings).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)


def test_what_one_task_alone_changed_goes_and_what_nobody_changed_stays(mini):
    base = mini.encoder(dtype=torch.float64)
    start = base.state_dict()
    frozen, selfish = "blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.weight"
    experts = mini.experts(base)
    for task, expert in experts.items():
        expert[frozen] = start[frozen]
        if task != "cars":
            expert[selfish] = start[selfish]
    merged = mergebench.merge("consensus_ta", base, experts)
    assert torch.equal(merged[frozen], start[frozen])
    assert torch.equal(merged[selfish], start[selfish])
    kept = mergebench.merge("consensus_ta", base, experts, agreeing=1)
    torch.testing.assert_close(kept[selfish], start[selfish] + 0.3 * (experts["cars"][selfish] - start[selfish]))


def test_one_expert_needs_to_agree_with_itself_alone(case):
    base, experts = case
    alone = {"cars": experts["cars"]}
    expected = mergebench.merge("task_arithmetic", base, alone)
    for name, value in mergebench.merge("consensus_ta", base, alone).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("wrong", [{"agreeing": 0}, {"selectivity": -0.1}, {"merged_by": "mean"}, {"density": 2}])
def test_values_that_mean_nothing_are_refused(case, wrong):
    with pytest.raises(mergebench.errors.HyperparameterError, match=next(iter(wrong))):
        mergebench.merge("consensus_ta", *case, **wrong)
