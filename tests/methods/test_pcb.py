"""PCB-Merging: both formulas against NumPy and SciPy on whole task vectors, and its laws."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

import mergebench
from mergebench.methods.pcb import paper_scores, released_scores, signed_sum


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(depth=1, dtype=torch.float64)
    # Changes of different sizes, and some that the tasks share: the tasks are no equals.
    common, experts = mini.expert(base, 9), mini.experts(base)
    start = base.state_dict()
    for factor, expert in zip((1, 2, 0.5), experts.values(), strict=True):
        for name in expert:
            expert[name] = start[name] + factor * (expert[name] + common[name] - 2 * start[name])
    return base, experts


def flat(base, state):
    return np.concatenate([state[n].numpy().ravel() for n in base.state_dict()])


def vectors_of(base, experts):
    start = flat(base, base.state_dict())
    return start, np.stack([flat(base, e) - start for e in experts.values()])


def unit(values):
    low, high = values.min(-1, keepdims=True), values.max(-1, keepdims=True)
    return (values - low) / (high - low)


def released(vectors, ratio):
    """With NumPy's sort, on all entries at once: the mean of the clamped vectors, weighted."""
    tasks, size = vectors.shape
    magnitudes = np.sort(np.abs(vectors), axis=1)
    low, high = magnitudes[:, int(size * 0.01)], magnitudes[:, int(size * 0.99 - 1)]
    magnitudes = np.clip(np.abs(vectors), low[:, None], high[:, None])
    signed = np.sign(vectors) * unit(magnitudes)
    score = np.exp(tasks * unit(magnitudes) ** 2) * np.tanh(vectors * signed.sum(0))
    bar = np.sort(score, axis=1)[:, int(round(size * (1 - ratio), 6))]
    weights = unit(np.maximum(score, bar[:, None]))
    return (np.sign(vectors) * magnitudes * weights).sum(0) / np.maximum(weights.sum(0), 1e-12)


def paper(vectors, ratio):
    """All pairs of tasks at once, with SciPy's softmax."""
    tasks, size = vectors.shape
    products = unit(vectors[:, None] * vectors[None])
    own = products[np.arange(tasks), np.arange(tasks)]
    score = softmax(tasks * own, axis=1) * softmax(products, axis=2).sum(1)
    bar = np.sort(score, axis=1)[:, int(round(size * (1 - ratio), 6))]
    weights = np.where(score >= bar[:, None], score, 0)
    total = weights.sum(0)
    return np.divide((vectors * weights).sum(0), total, out=np.zeros(size), where=total > 0)


@pytest.mark.parametrize("ratio", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(("formula", "reference"), [("released", released), ("paper", paper)])
@pytest.mark.parametrize("cut", [7, 2**17])
def test_equals_a_numpy_implementation(monkeypatch, case, formula, reference, ratio, cut):
    monkeypatch.setattr("mergebench.methods.sparsify.CUT", cut)
    base, experts = case
    start, vectors = vectors_of(base, experts)
    merged = mergebench.merge("pcb", base, experts, scaling=0.8, ratio=ratio, formula=formula)
    expected = reference(vectors, ratio)
    np.testing.assert_allclose(flat(base, merged) - start, 0.8 * expected, rtol=1e-7, atol=1e-11)
    assert (expected != 0).mean() >= min(0.04, 0.9 * ratio)


def test_the_defaults_are_those_of_the_released_code(case):
    told = {"scaling": 1.2, "ratio": 0.05, "formula": "released"}
    first, second = (mergebench.merge("pcb", *case, **settings) for settings in ({}, told))
    assert all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("formula", ["released", "paper"])
def test_one_expert_alone_keeps_its_largest_changes_and_nothing_else(case, formula):
    base, experts = case
    start, (vector,) = vectors_of(base, {"cars": experts["cars"]})
    merged = mergebench.merge("pcb", base, {"cars": experts["cars"]}, scaling=1, ratio=0.1, formula=formula)
    change = flat(base, merged) - start
    kept = change != 0
    largest = np.argsort(-np.abs(vector))[: kept.sum()]
    assert kept[largest].all()
    assert kept.mean() == pytest.approx(0.1, abs=1e-3)
    top = np.inf if formula == "paper" else np.sort(np.abs(vector))[int(0.99 * vector.size - 1)]
    np.testing.assert_allclose(change[kept], np.clip(vector[kept], -top, top), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("formula", ["released", "paper"])
def test_the_change_is_linear_in_the_scaling_and_no_larger_than_the_largest_change(case, formula):
    base, experts = case
    start, vectors = vectors_of(base, experts)
    once, twice = (flat(base, mergebench.merge("pcb", base, experts, scaling=s, formula=formula)) for s in (1, 2))
    np.testing.assert_allclose(twice - start, 2 * (once - start), rtol=1e-9, atol=1e-12)
    reach = np.abs(vectors).max(0)
    if formula == "released":  # which also lifts the smallest changes
        reach = np.maximum(reach, np.sort(np.abs(vectors), axis=1)[:, int(0.01 * start.size)].max())
    assert (np.abs(once - start) <= reach + 1e-12).all()


@pytest.mark.parametrize("formula", ["released", "paper"])
def test_what_no_expert_changed_stays_even_if_that_is_all(mini, formula):
    base = mini.encoder()
    start = base.state_dict()
    frozen = "blocks.0.attn.qkv.weight"
    experts = {t: {**e, frozen: start[frozen]} for t, e in mini.experts(base).items()}
    assert torch.equal(mergebench.merge("pcb", base, experts, formula=formula)[frozen], start[frozen])
    still = mergebench.merge("pcb", base, dict.fromkeys(mini.tasks, start), formula=formula)
    assert all(torch.equal(still[n], t) for n, t in start.items())


def test_the_scores_of_many_tasks_stay_within_single_precision():
    # e^120 would not.
    vectors = torch.randn(120, 60, generator=torch.Generator().manual_seed(0))
    ends = vectors.abs().amin(1), vectors.abs().amax(1)
    for scores in (
        released_scores(vectors, signed_sum(vectors, *ends), 120, *ends),
        paper_scores(lambda name: vectors, ["all"], 120)["all"],
    ):
        assert torch.isfinite(scores).all()
        assert (scores != 0).any(1).all()


@pytest.mark.parametrize("wrong", [{"ratio": 1.5}, {"formula": "other"}])
def test_values_that_mean_nothing_are_refused(case, wrong):
    with pytest.raises(mergebench.errors.HyperparameterError, match=next(iter(wrong))):
        mergebench.merge("pcb", *case, **wrong)


def test_a_tasks_scores_do_not_depend_on_whose_are_asked_for_with_them():
    vectors = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    low, high = vectors.abs().flatten(1).amin(1), vectors.abs().flatten(1).amax(1)
    together = signed_sum(vectors, low, high)
    alone = [released_scores(vectors[[i]], together, 4, low[[i]], high[[i]]) for i in range(4)]
    assert torch.equal(torch.cat(alone), released_scores(vectors, together, 4, low, high))
