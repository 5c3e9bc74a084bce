"""What adapts to unlabelled images: the gradient against finite differences, and a plain loop of torch's own."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from mergebench.data.images import ExplicitBatches
from mergebench.merging.method import Needs
from mergebench.merging.pool import ModelPool
from mergebench.methods.adaptation import ACTIVATIONS, adapt, in_groups, learn_coefficients

SIZES = {"birds": (5, 3), "cars": (6,), "digits": (4, 4, 2)}


@pytest.fixture
def case(mini):
    base = mini.encoder(depth=1, dtype=torch.float64)
    images, heads = mini.calibration(SIZES, torch.float64), mini.heads()
    sources = {t: ExplicitBatches(b, t) for t, b in images.items()}
    needs = Needs(base=True, test_inputs=True, heads=True)
    pool = ModelPool("any", needs, base, base.state_dict(), mini.experts(base), test_inputs=sources, heads=heads)
    return base, pool, images, heads


class Entry:
    """A merge that moves one parameter tensor, differentiable in what is learnt."""

    def __init__(self, name, weight, learnt):
        self.name, self.weight, self.learnt = name, weight, [learnt]

    def write(self, into):
        into[self.name].copy_(self.weight())
        return [self.name]

    def pull(self, slopes):
        for tensor in self.learnt:
            tensor.grad = None
        with torch.enable_grad():
            self.weight().backward(slopes[self.name])


def total_entropy(encoder, heads, batches):
    """SciPy's, from softmax probabilities in NumPy."""
    total = 0.0
    with torch.no_grad():
        for task, images in batches.items():
            logits = heads[task](encoder(images)).numpy()
            p = np.exp(logits - logits.max(1, keepdims=True))
            total += entropy(p / p.sum(1, keepdims=True), axis=1).mean()
    return total


def test_a_step_goes_down_the_gradient_that_finite_differences_show(case, mini):
    # Behind a slope this small Adam's first step, lr * g / (|g| + eps), is eps-limited: it tells g, not its sign alone.
    base, pool, images, heads = case
    name = "blocks.0.mlp.fc1.weight"
    shape = base.state_dict()[name].shape
    direction = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale, lr, eps = 1e-9, 1.0, 1e-8
    learnt = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    moved = Entry(name, lambda: pool.base[name] + scale * learnt * direction, learnt)
    value, _ = adapt(pool, pool.base, moved, steps=1, lr=lr, batch_size=16, adapt_on="test")
    batches = {t: b[0] for t, b in images.items()}

    def at(distance):
        state = dict(base.state_dict())
        state[name] = state[name] + distance * direction
        return total_entropy(mini.load(base, state), heads, batches)

    assert value == pytest.approx(at(0), rel=1e-9)
    slope = scale * (at(1e-4) - at(-1e-4)) / 2e-4
    assert learnt.item() == pytest.approx(-lr * slope / (abs(slope) + eps), rel=1e-5)
    assert abs(learnt.item()) < 0.9 * lr  # the slope is seen


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("granularity", ["task", "layer"])
def test_coefficients_are_those_of_a_plain_loop(case, mini, granularity, clamp):
    base, pool, images, heads = case
    lr, steps, init = 0.05, 4, 0.03  # with a clamp, some want to go below zero
    chosen = [n for n in base.state_dict() if "norm" not in n]
    vectors = {n: pool.vectors(n) for n in chosen}
    state = learn_coefficients(
        pool, vectors, granularity=granularity, init=init, clamp=clamp,
        steps=steps, lr=lr, batch_size=16, adapt_on="test",
    )  # fmt: skip

    parameters = {
        (t, n if granularity == "layer" else ""): torch.tensor(init, dtype=torch.float64, requires_grad=True)
        for t in pool.tasks
        for n in chosen
    }
    optimizer = torch.optim.Adam(parameters.values(), lr=lr)

    def used(task, name):
        value = parameters[task, name if granularity == "layer" else ""]
        return value.clip(0, 1) if clamp else value

    for step in range(steps):
        encoder = copy.deepcopy(base).requires_grad_(False)
        weights = {}
        for name in chosen:
            weights[name] = base.state_dict()[name].clone()
            for t, task in enumerate(pool.tasks):
                weights[name] = weights[name] + used(task, name) * vectors[name][t]
            owner, _, leaf = name.rpartition(".")
            module = encoder.get_submodule(owner)
            del module._parameters[leaf]
            setattr(module, leaf, weights[name])
        loss = 0
        for task in pool.tasks:
            p = heads[task].double()(encoder(images[task][step % len(images[task])])).softmax(1)
            loss = loss - (p * p.log()).sum() / len(p)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    names = chosen if granularity == "layer" else [""]
    reported = pool.diagnostics["coefficients"]
    for task in pool.tasks:
        expected = [parameters[task, n].detach().clip(*((0, 1) if clamp else (-9, 9))).item() for n in names]
        np.testing.assert_allclose(reported[task], expected, rtol=1e-6, atol=1e-8)
    if clamp:
        raw = torch.stack([p.detach() for p in parameters.values()])
        assert raw.min() < 0
        assert min(min(v) for v in reported.values()) == 0
    for name, value in base.state_dict().items():
        expected = value.clone()
        if name in chosen:
            expected += sum(used(task, name).detach() * vectors[name][t] for t, task in enumerate(pool.tasks))
        torch.testing.assert_close(state[name], expected, rtol=1e-7, atol=1e-9)


def test_tasks_go_through_the_encoder_together_as_far_as_there_is_room():
    assert in_groups("abcde", ACTIVATIONS // 5) == ["abcde"]
    assert in_groups("abcde", ACTIVATIONS // 2) == ["ab", "cd", "e"]
    assert in_groups("abc", 3 * ACTIVATIONS) == ["a", "b", "c"]


def test_groups_change_no_result(case, monkeypatch):
    _, pool, _, _ = case

    def learnt():
        weight = pool.base["norm.bias"].clone().requires_grad_()
        moved = Entry("norm.bias", lambda: weight * 1.0, weight)
        value, _ = adapt(pool, pool.base, moved, steps=3, lr=0.1, batch_size=4, adapt_on="test")
        return value, weight.detach()

    together = learnt()
    monkeypatch.setattr("mergebench.methods.adaptation.ACTIVATIONS", 1)
    alone = learnt()
    assert alone[0] == pytest.approx(together[0], rel=1e-9)
    torch.testing.assert_close(alone[1], together[1], rtol=1e-7, atol=1e-9)


def test_the_activations_of_one_group_alone_are_held_at_a_time(case, monkeypatch):
    monkeypatch.setattr("mergebench.methods.adaptation.ACTIVATIONS", 1)
    base, _, images, heads = case
    held, most = 0, 0

    class Kept:
        """A tensor kept for a backward pass, counted until it is let go."""

        def __init__(self, tensor):
            nonlocal held, most
            self.tensor, self.size = tensor, tensor.numel()
            held += self.size
            most = max(most, held)

        def __del__(self):
            nonlocal held
            held -= self.size

    def peak(tasks):
        nonlocal most
        most = 0
        pool = ModelPool(
            "any", Needs(base=True, test_inputs=True, heads=True), base, base.state_dict(),
            {t: base.state_dict() for t in tasks}, heads={t: heads[t] for t in tasks},
            test_inputs={t: ExplicitBatches([images[t][0][:4]], t) for t in tasks},
        )  # fmt: skip
        name = "norm.bias"
        learnt = torch.zeros_like(pool.base[name]).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            moved = Entry(name, lambda: pool.base[name] + learnt, learnt)
            adapt(pool, pool.base, moved, steps=1, lr=0.1, batch_size=4, adapt_on="test")
        return most

    alone = peak(["digits"])
    assert alone > 0 and peak(["digits", "cars", "birds"]) < 1.2 * alone
