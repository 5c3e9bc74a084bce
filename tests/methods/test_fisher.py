"""Fisher merging: both estimators against explicit loops, and the weighted mean against its formula."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import mergebench
from mergebench.methods.fisher import batch_fisher, forward_steps
from mergebench.methods.information import per_sample_fisher


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


def test_the_estimate_of_public_code_equals_a_loop_over_images_and_classes(small):
    batches = list(draw(12).split((7, 1, 4)))
    found = batch_fisher(small, nn.Identity(), batches)
    for name, expected in loop_batch(small, batches).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-10, atol=1e-14)


def test_the_two_estimators_are_different_quantities(small):
    batches = [draw(6)]
    first, second = per_sample_fisher(small, [*small], batches), batch_fisher(small, nn.Identity(), batches)
    assert any(not torch.allclose(first[n], second[n], rtol=0.1) for n in first)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_the_steps_are_the_forward_pass(mini, pre_norm):
    encoder, head = mini.encoder(pre_norm=pre_norm), mini.heads()["birds"]
    values = images = mini.images(0, 3)
    with torch.no_grad():
        for step in forward_steps(encoder, head):
            values = step(values)
        torch.testing.assert_close(values, head(encoder(images)))


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
