"""AdaMerging: its objective against SciPy, its gradient and Adam by hand, and what it learns."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

import mergebench
from mergebench.methods.adaptation import mean_entropy

SIZES = {"birds": (5, 3), "cars": (6,), "digits": (4, 4, 2)}


def scipy_entropy(logits):
    """Mean over images of SciPy's entropy (nats) of the softmax."""
    logits = logits.detach().double().numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    return float(np.mean(entropy(p / p.sum(1, keepdims=True), axis=1)))


def test_mean_entropy_is_scipys():
    logits = 3 * torch.randn(11, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert mean_entropy(logits).item() == pytest.approx(scipy_entropy(logits), rel=1e-12)


def test_entropy_of_certain_and_of_clueless_predictions():
    assert mean_entropy(torch.tensor([[200.0, 0.0, 0.0]])).item() == pytest.approx(0, abs=1e-12)
    assert mean_entropy(torch.full((2, 8), 3.0, dtype=torch.float64)).item() == pytest.approx(np.log(8), rel=1e-12)


def task_vectors(base, experts):
    return {t: {n: e[n] - start for n, start in base.state_dict().items()} for t, e in sorted(experts.items())}


def merged_at(mini, base, vectors, coefficients):
    """The encoder at theta_0 + sum lambda tau; coefficients: task -> name -> float."""
    state = {n: t.clone() for n, t in base.state_dict().items()}
    for task, vector in vectors.items():
        for name, value in vector.items():
            state[name] += coefficients[task][name] * value
    return mini.load(base, state)


def gradient(encoder, heads, vectors, batches):
    """d/d lambda of the sum over tasks of the mean entropy, by the chain rule: <dL/d theta, tau>."""
    loss = 0
    for task, images in batches.items():
        p = heads[task](encoder(images)).softmax(-1)
        loss = loss - (p * p.log()).sum(-1).mean()
    names = [n for n, _ in encoder.named_parameters()]
    slopes = dict(zip(names, torch.autograd.grad(loss, list(encoder.parameters())), strict=True))
    return loss.item(), {t: {n: (slopes[n] * v[n]).sum().item() for n in names} for t, v in vectors.items()}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("granularity", ["layer", "task"])
def test_steps_equal_adam_by_hand(mini, granularity, steps):
    base = mini.encoder(dtype=torch.float64)
    experts, heads = mini.experts(base), mini.heads()
    images = mini.calibration(SIZES, torch.float64)
    lr, init = 0.02, 0.2
    result, pool = mini.run(
        "adamerging", base, experts, test_inputs=images, heads=heads,
        granularity=granularity, steps=steps, lr=lr, init=init,
    )  # fmt: skip

    names = list(base.state_dict())
    vectors = task_vectors(base, experts)
    rows = [[n] for n in names] if granularity == "layer" else [names]
    table = np.full((len(rows), len(vectors)), init)
    first, second = np.zeros_like(table), np.zeros_like(table)
    for step in range(1, steps + 1):
        coefficients = {
            t: {n: table[i, j] for i, row in enumerate(rows) for n in row} for j, t in enumerate(vectors)
        }  # fmt: skip
        batches = {t: images[t][(step - 1) % len(images[t])] for t in vectors}
        loss, slopes = gradient(merged_at(mini, base, vectors, coefficients), heads, vectors, batches)
        g = np.array([[sum(slopes[t][n] for n in row) for t in vectors] for row in rows])
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        table -= lr * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)

    reported = np.array(list(pool.diagnostics["coefficients"].values())).T
    np.testing.assert_allclose(reported, table, rtol=1e-5, atol=1e-7)
    assert pool.diagnostics["entropy"] == pytest.approx(loss, rel=1e-6)
    for i, row in enumerate(rows):
        for name in row:
            expected = base.state_dict()[name].numpy().copy()
            for j, vector in enumerate(vectors.values()):
                expected += table[i, j] * vector[name].numpy()
            np.testing.assert_allclose(result[name].numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("granularity", ["layer", "task"])
def test_the_weights_are_those_of_the_reported_coefficients(mini, granularity):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    result, pool = mini.run(
        "adamerging", base, experts, test_inputs=mini.calibration(SIZES, torch.float64), heads=mini.heads(),
        granularity=granularity, steps=3, lr=0.05,
    )  # fmt: skip
    coefficients = pool.diagnostics["coefficients"]
    assert set(coefficients) == set(experts)
    assert {len(c) for c in coefficients.values()} == {len(base.state_dict()) if granularity == "layer" else 1}
    for i, (name, start) in enumerate(base.state_dict().items()):
        expected = start.clone()
        for task, values in coefficients.items():
            expected += values[i if granularity == "layer" else 0] * (experts[task][name] - start)
        torch.testing.assert_close(result[name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("granularity", ["layer", "task"])
def test_entropy_goes_down(mini, granularity):
    base = mini.encoder()
    experts, heads = mini.experts(base, scale=0.1), mini.heads()
    images = {t: [torch.cat(b)] for t, b in mini.calibration(SIZES).items()}

    def total(state):
        encoder = mini.load(base, state)
        with torch.no_grad():
            return sum(scipy_entropy(heads[t](encoder(images[t][0]))) for t in experts)

    start = mergebench.merge("task_arithmetic", base, experts, scaling=0.3)
    adapted = mergebench.merge(
        "adamerging", base, experts, test_inputs=images, heads=heads, granularity=granularity, steps=25, lr=0.02
    )
    assert total(adapted) < 0.97 * total(start)


def test_adapting_on_calibration_images_never_looks_at_the_test_images(mini):
    base = mini.encoder()
    experts, heads, images = mini.experts(base), mini.heads(), mini.calibration(SIZES)
    settings = {"steps": 2, "lr": 0.05}

    def adapt(calibration, test_inputs, split):
        return mini.run(
            "adamerging", base, experts, calibration=calibration, test_inputs=test_inputs, heads=heads,
            adapt_on=split, **settings,
        )[0]  # fmt: skip

    others = {t: [mini.images(500 + i, 4)] for i, t in enumerate(mini.tasks)}
    alone = adapt(images, None, "calibration")
    beside = adapt(images, others, "calibration")
    tested = adapt(others, images, "test")
    for name in alone:
        assert torch.equal(alone[name], beside[name])
        assert torch.equal(alone[name], tested[name])
    assert any(not torch.equal(alone[n], t) for n, t in adapt(images, others, "test").items())


def test_without_test_images_of_their_own_the_calibration_batches_stand_in(mini):
    base = mini.encoder()
    experts, heads, images = mini.experts(base), mini.heads(), mini.calibration(SIZES)
    given = mergebench.merge("adamerging", base, experts, test_inputs=images, heads=heads, steps=2)
    stood_in = mergebench.merge("adamerging", base, experts, calibration=images, heads=heads, steps=2)
    assert all(torch.equal(given[n], stood_in[n]) for n in given)
