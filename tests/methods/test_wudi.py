"""WUDI-Merging: against Adam and the loss's gradient written out in NumPy, its minimum, and cases known by hand."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.wudi import interference, least_interference


def loss(merged, vectors):
    """By sums over single entries."""
    products = np.einsum("tij,tkj->tik", merged - vectors, vectors)
    return (np.einsum("tik,tik->t", products, products) / np.einsum("tij,tij->t", vectors, vectors)).sum()


def adam(vectors, steps, lr):
    """Adam from the sum, task by task; the two moments as Kingma and Ba have them."""
    merged = np.sum(vectors, axis=0)
    first, second = np.zeros_like(merged), np.zeros_like(merged)
    for step in range(1, steps + 1):
        gradient = sum(2 * ((merged - v) @ v.T) @ v / np.linalg.norm(v) ** 2 for v in vectors)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        merged = merged - lr * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return merged


def task_matrices(count, rows, columns, seed=0):
    return torch.randn(count, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("tasks", "shape"), [(1, (4, 3)), (2, (3, 6)), (5, (6, 4))])
def test_the_interference_and_the_steps_against_numpy(tasks, shape):
    vectors = task_matrices(tasks, *shape)
    merged = least_interference(vectors, 40, 1e-2)
    np.testing.assert_allclose(merged.numpy(), adam(vectors.numpy(), 40, 1e-2), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(interference(merged, vectors), loss(merged.numpy(), vectors.numpy()), atol=1e-12)
    if tasks > 1:
        assert interference(merged, vectors) < 0.9 * interference(vectors.sum(0), vectors)


def test_enough_steps_reach_the_minimum():
    vectors = task_matrices(3, 4, 3)
    v = vectors.numpy() / np.linalg.norm(vectors.numpy(), axis=(1, 2), keepdims=True)
    # Stacked least squares: tau [v_1^T v_2^T ...] = [tau_1 v_1^T ...].
    left = np.concatenate([u.T for u in v], axis=1)
    right = np.concatenate([t @ u.T for t, u in zip(vectors.numpy(), v, strict=True)], axis=1)
    best = np.linalg.lstsq(left.T, right.T, rcond=None)[0].T
    merged = least_interference(vectors, 2500, 5e-3)
    np.testing.assert_allclose(merged.numpy(), best, atol=1e-4)
    assert loss(merged.numpy(), vectors.numpy()) <= loss(best, vectors.numpy()) * (1 + 1e-6)


def test_tasks_that_read_other_inputs_are_summed_as_they_are():
    vectors = torch.tensor([[[1.0, 0, 0], [2, 0, 0]], [[0, 3, 0], [0, 1, 0]]], dtype=torch.float64)
    assert interference(vectors.sum(0), vectors) == 0
    torch.testing.assert_close(least_interference(vectors, 100, 1e-2), vectors.sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_task_that_changed_nothing_changes_nothing(dtype):
    vectors = task_matrices(3, 5, 4).to(dtype)
    idle = torch.cat([vectors, torch.zeros_like(vectors[:1])])
    torch.testing.assert_close(least_interference(idle, 20, 1e-3), least_interference(vectors, 20, 1e-3))
    nothing = torch.zeros_like(vectors)
    assert torch.equal(least_interference(nothing, 20, 1e-3), nothing[0])
    assert interference(nothing[0], nothing) == 0


def test_columns_and_rows_that_no_task_changed_stay():
    vectors = task_matrices(3, 5, 4)
    vectors[:, 1], vectors[:, :, 2] = 0, 0
    merged = least_interference(vectors, 50, 1e-2)
    assert torch.equal(merged[1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(merged[:, 2], torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("parameters", ["all", "linear"])
def test_every_parameter_gets_its_due(mini, parameters):
    base = mini.encoder(dtype=torch.float64)
    experts, start = mini.experts(base), base.state_dict()
    merged, pool = mini.run("wudi", base, experts, steps=15, lr=1e-3, parameters=parameters)
    before, after, counts = 0.0, 0.0, {"matrix": 0, "mean": 0, "base": 0}
    for name, value in start.items():
        vectors = np.stack([(e[name] - value).squeeze().numpy() for e in experts.values()])
        linear = name.startswith("blocks.") and vectors.ndim == 3
        if linear or (parameters == "all" and name == "pos_embed"):
            counts["matrix"] += 1
            parts = np.split(vectors, 3 if name.endswith("qkv.weight") else 1, axis=1)
            expected = np.concatenate([adam(part, 15, 1e-3) for part in parts]).reshape(value.shape)
            before += sum(loss(part.sum(0), part) for part in parts)
            after += sum(loss(adam(part, 15, 1e-3), part) for part in parts)
        elif parameters == "all":
            counts["mean"] += 1
            expected = np.mean([(e[name] - value).numpy() for e in experts.values()], axis=0)
        else:
            counts["base"] += 1
            assert torch.equal(merged[name], value), name
            continue
        np.testing.assert_allclose((merged[name] - value).numpy(), expected, rtol=1e-6, atol=1e-9, err_msg=name)
    assert counts["matrix"] == 8 + (parameters == "all")
    assert bool(counts["mean"]) == (parameters == "all") and bool(counts["base"]) == (parameters == "linear")
    np.testing.assert_allclose([pool.diagnostics[k] for k in ("loss_before", "loss_after")], [before, after], rtol=1e-6)
    assert after < before


def test_one_expert_alone_comes_back(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("wudi", base, {"birds": expert}, steps=50)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0}, {"parameters": "norms"}])
def test_bad_values_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("wudi", base, mini.experts(base), **wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_treated_together_come_out_as_one_by_one(dtype):
    vectors = 0.01 * torch.stack([task_matrices(4, 6, 5, seed=seed) for seed in range(3)], dim=1).to(dtype)
    vectors[1, 0], vectors[:, 2, :, 1:] = 0, 0  # a task that changed nothing, and a matrix of rank one
    together = least_interference(vectors, 30, 1e-5)
    alone = torch.stack([least_interference(one, 30, 1e-5) for one in vectors.unbind(1)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-8)
    losses = [interference(tau, one) for tau, one in zip(alone, vectors.unbind(1), strict=True)]
    torch.testing.assert_close(interference(together, vectors), sum(losses))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_one_expert_alone_comes_back_from_any_format(mini, dtype):
    """Its gradient is zero on paper, of which rounding leaves nothing that Adam could make a step of."""
    base = mini.encoder(dtype=dtype)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("wudi", base, {"birds": expert}, steps=50)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=torch.finfo(dtype).eps, atol=1e-7)
