"""Fisher merging: both estimators against explicit loops, and the weighted mean against its formula."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import mergebench
from mergebench.methods.fisher import batch_fisher, per_sample_fisher


def gradients_of_each_class(model, image):
    """For one image: probabilities [C], and per class the gradient of log p by every parameter."""
    log_p = model(image[None])[0].log_softmax(-1)
    parameters = dict(model.named_parameters())
    found = []
    for value in log_p:
        grads = torch.autograd.grad(value, list(parameters.values()), retain_graph=True)
        found.append(dict(zip(parameters, grads, strict=True)))
    return log_p.detach().exp(), found


def loop_per_sample(model, batches):
    totals = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    count = 0
    for batch in batches:
        for image in batch:
            p, gradients = gradients_of_each_class(model, image)
            for probability, gradient in zip(p, gradients, strict=True):
                for name, value in gradient.items():
                    totals[name] += probability * value * value
            count += 1
    return {n: t / count for n, t in totals.items()}


def loop_batch(model, batches):
    totals = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    count = 0
    for batch in batches:
        summed = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
        for image in batch:
            p, gradients = gradients_of_each_class(model, image)
            for probability, gradient in zip(p, gradients, strict=True):
                for name, value in gradient.items():
                    summed[name] += probability.sqrt() * value
        for name, value in summed.items():
            totals[name] += value**2
        count += len(batch)
    return {n: t / count for n, t in totals.items()}


def draw(count, seed=0):
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def small():
    """A small non-linear classifier in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.GELU(), nn.Linear(5, 4)).double()


@pytest.mark.parametrize(("estimate", "loop"), [(per_sample_fisher, loop_per_sample), (batch_fisher, loop_batch)])
def test_estimators_equal_loops_over_images_and_classes(small, estimate, loop):
    # More images than are differentiated at once, in uneven batches.
    batches = list(draw(12).split((7, 1, 4)))
    found = estimate(small, {n: p.detach() for n, p in small.named_parameters()}, batches)
    for name, expected in loop(small, batches).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-10, atol=1e-14)


def test_the_two_estimators_are_different_quantities(small):
    batches = [draw(6)]
    state = {n: p.detach() for n, p in small.named_parameters()}
    first, second = per_sample_fisher(small, state, batches), batch_fisher(small, state, batches)
    assert any(not torch.allclose(first[n], second[n], rtol=0.1) for n in state)


def test_per_sample_fisher_does_not_depend_on_how_images_are_batched(small):
    images = draw(9)
    state = {n: p.detach() for n, p in small.named_parameters()}
    whole, split = per_sample_fisher(small, state, [images]), per_sample_fisher(small, state, images.split((2, 3, 4)))
    for name in state:
        torch.testing.assert_close(whole[name], split[name], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("gradients", [0, 1, 3, 5, 9, 100])
def test_how_many_gradients_are_held_at_once_does_not_matter(small, gradients, monkeypatch):
    batches = list(draw(9).split((5, 4)))
    state = {n: p.detach() for n, p in small.named_parameters()}
    size = sum(p.nbytes for p in state.values())
    monkeypatch.setattr(mergebench.methods.fisher, "BYTES_AT_ONCE", gradients * size)
    for name, found in per_sample_fisher(small, state, batches).items():
        torch.testing.assert_close(found, loop_per_sample(small, batches)[name], rtol=1e-10, atol=1e-14)


def test_memory_does_not_grow_with_images_or_classes(monkeypatch):
    """How many classes' gradients are squared together, of each of the images that are."""
    side, seen = 60, []

    def noting(a, b, dims, real=torch.tensordot):
        seen.append(len(a))
        return real(a, b, dims)

    monkeypatch.setattr(mergebench.methods.fisher, "BYTES_AT_ONCE", 12 * 8 * side * 12)
    monkeypatch.setattr(torch, "tensordot", noting)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, side, bias=False)).double()
    per_sample_fisher(model, {n: p.detach() for n, p in model.named_parameters()}, [draw(9)])
    assert max(seen) == 2 and sum(seen) == 3 * side  # 4 images at once, and 2 classes of each


@pytest.mark.parametrize(("estimator", "loop"), [("per_sample", loop_per_sample), ("batch", loop_batch)])
def test_merged_weights_follow_the_formula(mini, estimator, loop):
    base = mini.encoder(depth=1, dtype=torch.float64)
    experts, heads = mini.experts(base), mini.heads()
    calibration = mini.calibration({"birds": (2, 1), "cars": (3,), "digits": (1, 1)}, torch.float64)
    merged = mergebench.merge("fisher", base, experts, calibration=calibration, heads=heads, estimator=estimator)
    above = {n: 0.0 for n in merged}
    below = {n: 0.0 for n in merged}
    for task, expert in experts.items():
        encoder = mini.load(base, expert)
        model = nn.Sequential(encoder, copy.deepcopy(heads[task]))
        information = {n.removeprefix("0."): f.numpy() for n, f in loop(model, calibration[task]).items()}
        norm = np.sqrt(sum((f**2).sum() for f in information.values()))
        for name, value in information.items():
            weight = (value + 1e-6) / norm
            above[name] = above[name] + weight * expert[name].numpy()
            below[name] = below[name] + weight
    for name in merged:
        np.testing.assert_allclose(merged[name].numpy(), above[name] / below[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("estimator", ["per_sample", "batch"])
@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_one_expert_give_that_expert(mini, estimator, copies):
    base = mini.encoder(depth=1, dtype=torch.float64)
    expert = mini.expert(base, 5)
    tasks = mini.tasks[:copies]
    calibration = mini.calibration({t: (2,) for t in mini.tasks}, torch.float64)
    merged = mergebench.merge(
        "fisher",
        base,
        {t: expert for t in tasks},
        calibration={t: calibration[t] for t in tasks},
        heads={t: mini.heads()[t] for t in tasks},
        estimator=estimator,
    )
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-10, atol=1e-12)


def test_every_entry_lies_between_the_experts(mini):
    base = mini.encoder(depth=1)
    experts = mini.experts(base)
    calibration = mini.calibration({t: (2,) for t in mini.tasks})
    merged = mergebench.merge("fisher", base, experts, calibration=calibration, heads=mini.heads())
    for name, value in merged.items():
        stacked = torch.stack([e[name] for e in experts.values()])
        assert (value >= stacked.amin(0) - 1e-5).all(), name
        assert (value <= stacked.amax(0) + 1e-5).all(), name
