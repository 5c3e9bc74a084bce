"""AdaRank: masks and coefficients against Adam and the chain rule by hand, and where it starts."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.adarank import first_scores, masks_slope
from mergebench.methods.components import decompose, recombine, shared_slopes, slopes_along

SIZES = {"birds": (5, 3), "cars": (6,), "digits": (4, 4, 2)}


def random(shape, seed, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_the_slope_of_a_mask_is_the_sigmoids():
    scores = torch.tensor([-3.0, -0.1, 0.0, 0.1, 2.0], dtype=torch.float64, requires_grad=True)
    (scores / 10).sigmoid().sum().backward()
    torch.testing.assert_close(masks_slope(scores.detach(), 10.0), scores.grad)


@pytest.mark.parametrize("chunk", [7, 2**22])
@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 6, 4), (1, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_along_components_are_those_of_autograd(monkeypatch, shape, dtype, chunk):
    monkeypatch.setattr("mergebench.methods.components.CHUNK", chunk)
    vectors, slope = random(shape, 0, dtype), random(shape[1:], 1, dtype)
    vectors[0] = torch.eye(*shape[1:])  # all singular values are one: their components share a score
    parts = decompose(vectors)
    gates = torch.ones(parts.values.shape, dtype=dtype, requires_grad=True)
    weights = (gates.gather(1, parts.first) * parts.values).flatten()
    ((parts.left.T * weights) @ parts.right * slope).sum().backward()
    found = shared_slopes(parts, slopes_along(parts, slope))
    torch.testing.assert_close(found, gates.grad, rtol=1e-5, atol=1e-5 * float(gates.grad.abs().max()))
    assert found[0].count_nonzero() == 1


@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 6, 4), (1, 5, 5)])
def test_gates_choose_among_the_singular_components(shape):
    vectors = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = decompose(vectors)
    torch.testing.assert_close(recombine(parts, torch.ones_like(parts.values)), vectors.sum(0))
    gates = torch.rand(parts.values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = 0
    for vector, gate in zip(vectors.numpy(), gates.numpy(), strict=True):
        left, values, right = np.linalg.svd(vector)
        for i, value in enumerate(values):
            expected = expected + gate[i] * value * np.outer(left[:, i], right[i])
    np.testing.assert_allclose(recombine(parts, gates), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.16, 1), (0.3, 3), (1, 10)])
def test_the_largest_components_are_in_at_the_start(share, count):
    assert (first_scores(torch.rand(2, 10), share) > 0).sum(1).tolist() == [count, count]
    assert (first_scores(torch.rand(2, 10), share)[:, :count] > 0).all()


def matrices_of(base):
    return [n for n, v in base.state_dict().items() if n.startswith("blocks.") and v.ndim == 2]


def slopes_of(encoder, heads, batches):
    """dL / d theta of the sum over tasks of the mean entropy, and the sum."""
    loss = 0
    for task, images in batches.items():
        p = heads[task].double()(encoder(images)).softmax(-1)
        loss = loss - (p * p.log()).sum(-1).mean()
    encoder.zero_grad()
    loss.backward()
    return {n: p.grad.numpy() for n, p in encoder.named_parameters()}, loss.item()


@pytest.mark.parametrize("centre", ["base", "average"])
def test_steps_equal_adam_and_the_chain_rule_by_hand(mini, centre):
    base = mini.encoder(depth=1, dtype=torch.float64)
    experts, heads = mini.experts(base), mini.heads()
    images = mini.calibration(SIZES, torch.float64)
    lr, init, rank, temperature, steps = 0.06, 0.4, 0.5, 2.0, 4
    result, pool = mini.run(
        "adarank", base, experts, test_inputs=images, heads=heads,
        centre=centre, init=init, rank=rank, temperature=temperature, steps=steps, lr=lr,
    )  # fmt: skip

    start = {n: t.numpy() for n, t in base.state_dict().items()}
    if centre == "average":
        start = {n: np.mean([e[n].numpy() for e in experts.values()], axis=0) for n in start}
    changes = {t: {n: e[n].numpy() - start[n] for n in start} for t, e in experts.items()}
    names, matrices = list(start), matrices_of(base)
    factors = {(t, n): np.linalg.svd(changes[t][n], full_matrices=False) for t in experts for n in matrices}
    learnt = {("coefficient", t, n): np.array(init) for t in experts for n in names}
    for (task, name), (_, values, _) in factors.items():
        learnt["score", task, name] = np.where(np.arange(values.size) < int(rank * values.size), 0.1, -0.1)
    moments = {key: (np.zeros_like(v), np.zeros_like(v)) for key, v in learnt.items()}

    def part(task, name):
        if (task, name) not in factors:
            return changes[task][name]
        left, values, right = factors[task, name]
        return (left * (values * (learnt["score", task, name] > 0))) @ right

    def merged(name):
        return start[name] + sum(learnt["coefficient", t, name] * part(t, name) for t in experts)

    for step in range(1, steps + 1):
        encoder = mini.load(base, {n: torch.from_numpy(merged(n)) for n in names})
        batches = {t: images[t][(step - 1) % len(images[t])] for t in experts}
        slopes, loss = slopes_of(encoder, heads, batches)
        gradients = {("coefficient", t, n): (slopes[n] * part(t, n)).sum() for t in experts for n in names}
        for (task, name), (left, values, right) in factors.items():
            p = 1 / (1 + np.exp(-learnt["score", task, name] / temperature))
            along = np.array([left[:, i] @ slopes[name] @ right[i] for i in range(values.size)])
            weight = learnt["coefficient", task, name] * values
            gradients["score", task, name] = along * weight * p * (1 - p) / temperature
        for key, g in gradients.items():
            first, second = moments[key]
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            moments[key] = first, second
            step_length = lr * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            learnt[key] = learnt[key] - step_length

    report = pool.diagnostics
    assert report["entropy"] == pytest.approx(loss, rel=1e-6)
    moved = 0
    for task in experts:
        expected = [learnt["coefficient", task, n] for n in names]
        np.testing.assert_allclose(report["coefficients"][task], expected, rtol=1e-5, atol=1e-7)
        for name in matrices:
            on = learnt["score", task, name] > 0
            moved += (on != (np.arange(on.size) < int(rank * on.size))).sum()
            assert report["ranks"][task][name] == on.sum()
    assert moved > 10  # components have been taken in and left out
    for name in names:
        np.testing.assert_allclose(result[name], merged(name), rtol=1e-6, atol=1e-7)


# A step of Adam is as long as its rate, so that a rate near zero leaves the start.
STILL = {"steps": 1, "lr": 1e-12}


def test_with_all_components_in_it_begins_at_task_arithmetic_or_the_average(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    given = {"test_inputs": mini.calibration(SIZES, torch.float64), "heads": mini.heads(), "rank": 1.0} | STILL
    arithmetic = mergebench.merge("task_arithmetic", base, experts, scaling=0.3)
    average = mergebench.merge("average", base, experts)
    from_base = mergebench.merge("adarank", base, experts, centre="base", init=0.3, **given)
    from_average = mergebench.merge("adarank", base, experts, centre="average", init=2.3, **given)
    for name in average:
        torch.testing.assert_close(from_base[name], arithmetic[name], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(from_average[name], average[name], rtol=1e-9, atol=1e-9)


def test_without_components_linear_layers_begin_at_the_centre(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    given = {"test_inputs": mini.calibration(SIZES, torch.float64), "heads": mini.heads()} | STILL
    merged = mergebench.merge("adarank", base, experts, centre="base", init=0.3, rank=0.0, **given)
    arithmetic = mergebench.merge("task_arithmetic", base, experts, scaling=0.3)
    for name, value in base.state_dict().items():
        expected = value if name in matrices_of(base) else arithmetic[name]
        torch.testing.assert_close(merged[name], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_one_expert_give_that_expert(mini, copies):
    base = mini.encoder()
    expert, tasks = mini.expert(base, 5), mini.tasks[:copies]
    given = {"test_inputs": mini.calibration(SIZES), "heads": mini.heads(), "steps": 5}
    merged = mergebench.merge("adarank", base, {t: expert for t in tasks}, **given)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("centre", ["base", "average"])
def test_calibration_images_can_stand_in_for_test_images(mini, centre):
    base = mini.encoder(depth=1)
    experts, heads, images = mini.experts(base), mini.heads(), mini.calibration(SIZES)
    given = {"heads": heads, "centre": centre, "steps": 2}
    tested, _ = mini.run("adarank", base, experts, test_inputs=images, **given)
    calibrated, _ = mini.run("adarank", base, experts, calibration=images, adapt_on="calibration", **given)
    assert all(torch.equal(tested[n], calibrated[n]) for n in tested)


@pytest.mark.parametrize("wrong", [{"rank": 1.1}, {"temperature": 0}, {"centre": "middle"}, {"steps": 0}, {"lr": -1}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder(depth=1)
    with pytest.raises(MergebenchError):
        mergebench.merge(
            "adarank", base, mini.experts(base), test_inputs=mini.calibration(), heads=mini.heads(), **wrong
        )
