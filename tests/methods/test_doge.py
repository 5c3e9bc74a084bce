"""DOGE: the objective, its projected gradient and the whole method against NumPy in float64, and what stays put."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.doge import shared_subspace, shift, task_weights

SIZES = {"birds": (5, 3), "cars": (6,), "digits": (4, 4, 2)}
EPS = 1e-8


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def numpy_gradient(vectors, weights, moved):
    """Of sum_t sum_rows <tau_t, tau_t - sum_i lambda_i (tau_i + D)>^2 by D, row by row."""
    gradient = np.zeros_like(moved)
    total = sum(weights)
    for row in range(len(moved)):
        merged = sum(w * (v[row] + moved[row]) for w, v in zip(weights, vectors, strict=True))
        for vector in vectors:
            gradient[row] -= 2 * total * (vector[row] @ (vector[row] - merged)) * vector[row]
    return gradient


def numpy_projector(vectors, k):
    share = min(vectors[0].shape) // len(vectors)
    together = np.hstack([np.linalg.svd(v)[0][:, :share] for v in vectors])
    values, basis = np.linalg.eigh(together @ together.T)
    leading = basis[:, np.argsort(values)[::-1][: min(vectors[0].shape) // k]]
    return leading @ leading.T


def numpy_shift(vectors, weights, projector, steps, lr):
    moved, first, second = (np.zeros_like(vectors[0]) for _ in range(3))
    for step in range(1, steps + 1):
        g = numpy_gradient(vectors, weights, moved)
        g = g - projector @ g
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        moved = moved - lr * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + EPS)
    return moved


def numpy_parts(start, experts, *, eta, density, k, steps, lr):
    """name -> per third, if fused: (lambda, masked and shifted task matrices)."""
    names = [n for n in start if n.startswith("blocks.") and start[n].ndim == 2]
    vectors = {n: [(e[n] - start[n]).numpy() for e in experts.values()] for n in names}
    thresholds = []
    for t in range(len(experts)):
        flat = np.sort(np.abs(np.concatenate([vectors[n][t].ravel() for n in names])))[::-1]
        thresholds.append(flat[int(density * flat.size) - 1])
    parts = {}
    for name in names:
        parts[name] = []
        for third in zip(*(np.split(v, 3 if "qkv" in name else 1) for v in vectors[name]), strict=True):
            weights = [eta / np.sqrt((v**2).sum()) for v in third]
            moved = numpy_shift(third, weights, numpy_projector(third, k), steps, lr)
            masked = [np.where(np.abs(v) >= h, v + moved, 0) for v, h in zip(third, thresholds, strict=True)]
            parts[name].append((weights, masked))
    return parts


@pytest.mark.parametrize("shape", [(3, 7, 5), (2, 5, 7), (4, 6, 6)])
def test_the_first_step_takes_the_gradient_without_its_part_in_the_subspace(shape):
    # Entries this small make gradients near Adam's epsilon, so that its first step tells their size.
    vectors, lr = random(*shape, scale=2e-3), 1.0
    weights = torch.rand(shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    subspace = torch.linalg.qr(random(shape[1], 2, seed=2)).Q
    moved = shift(vectors, weights, subspace, steps=1, lr=lr)
    gradient = -moved * EPS / (lr - moved.abs())
    plain = numpy_gradient(list(vectors.numpy()), weights.tolist(), np.zeros(shape[1:]))
    expected = plain - subspace.numpy() @ subspace.numpy().T @ plain
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-15)
    assert np.abs(subspace.numpy().T @ gradient.numpy()).max() < 1e-7 * np.abs(plain).max()
    assert np.abs(subspace.numpy().T @ plain).max() > 1e-2 * np.abs(plain).max()


def test_the_gradient_is_that_of_the_objective():
    # Reading the objective literally, with automatic derivatives, away from where it starts.
    vectors, weights, moved = random(3, 6, 4), torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64), random(6, 4, seed=1)
    moved.requires_grad_()
    merged = (weights[:, None, None] * (vectors + moved)).sum(0)
    (vectors * (vectors - merged)).sum(2).square().sum().backward()
    by_hand = numpy_gradient(list(vectors.numpy()), weights.tolist(), moved.detach().numpy())
    np.testing.assert_allclose(moved.grad, by_hand, rtol=1e-10)


def test_many_steps_equal_adam_in_numpy():
    vectors, weights = random(3, 8, 6), torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64)
    subspace = torch.linalg.qr(random(8, 3, seed=2)).Q
    moved = shift(vectors, weights, subspace, steps=40, lr=0.01)
    projector = (subspace @ subspace.T).numpy()
    expected = numpy_shift(list(vectors.numpy()), weights.tolist(), projector, 40, 0.01)
    np.testing.assert_allclose(moved, expected, rtol=1e-8, atol=1e-12)


def test_a_shift_of_each_tasks_own_comes_to_the_same():
    vectors, weights = random(3, 8, 6), torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64)
    subspace = torch.linalg.qr(random(8, 3, seed=2)).Q
    own = torch.zeros_like(vectors, requires_grad=True)
    optimizer = torch.optim.Adam([own], lr=0.01)
    for _ in range(20):
        merged = (weights[:, None, None] * (vectors + own)).sum(0)
        optimizer.zero_grad()
        (vectors * (vectors - merged)).sum(2).square().sum().backward()
        own.grad -= subspace @ (subspace.T @ own.grad)
        optimizer.step()
    for moved in own.detach():
        torch.testing.assert_close(moved, shift(vectors, weights, subspace, steps=20, lr=0.01), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 9, 14), (3, 14, 9)])
def test_the_subspace_is_numpys(shape):
    vectors = random(*shape)
    basis = shared_subspace(vectors, min(shape[1:]) // 3)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    np.testing.assert_allclose(basis @ basis.T, numpy_projector(list(vectors.numpy()), 3), atol=1e-9)


def test_only_directions_that_some_task_took_are_shared():
    low_rank = random(2, 9, 1) @ random(2, 1, 9, seed=1)
    vectors = torch.cat([low_rank, torch.zeros(1, 9, 9, dtype=torch.float64)])
    basis = shared_subspace(vectors, 4)
    assert basis.shape == (9, 2)
    torch.testing.assert_close(basis @ (basis.T @ low_rank), low_rank)
    assert shared_subspace(torch.zeros(2, 9, 9), 4).shape == (9, 0)


def test_weights_are_inverse_to_norms():
    vectors = torch.stack([torch.full((3, 3), 2.0), torch.zeros(3, 3), torch.eye(3)])
    assert task_weights(vectors, 0.6).tolist() == pytest.approx([0.1, 0.0, 0.6 / 3**0.5])


SETTINGS = {"eta": 0.5, "density": 0.4, "steps": 15, "lr": 1e-3}


@pytest.mark.parametrize("k", [6, 0])
def test_the_whole_of_doge_ta_equals_numpy(mini, k):
    base = mini.encoder(dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    merged = mergebench.merge("doge_ta", base, experts, subspace=k, **SETTINGS)
    parts = numpy_parts(start, experts, k=k or len(experts), **SETTINGS)
    assert set(parts) == {f"{n}.weight" for b in range(2) for n in (
        f"blocks.{b}.attn.qkv", f"blocks.{b}.attn.proj", f"blocks.{b}.mlp.fc1", f"blocks.{b}.mlp.fc2"
    )}  # fmt: skip
    for name, value in start.items():
        expected = value.numpy().copy()
        if name in parts:
            expected += np.vstack([sum(w * v for w, v in zip(*part, strict=True)) for part in parts[name]])
        np.testing.assert_allclose(merged[name], expected, rtol=1e-7, atol=1e-9, err_msg=name)


def test_doge_am_is_adamerging_on_the_shifted_and_masked_vectors(mini):
    base = mini.encoder(depth=1, dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    parts = numpy_parts(start, experts, eta=0.07, density=0.4, k=3, steps=10, lr=1e-3)
    made = {task: dict(start) for task in experts}
    for name, thirds in parts.items():
        for t, expert in enumerate(made.values()):
            expert[name] = start[name] + torch.from_numpy(np.vstack([masked[t] for _, masked in thirds]))
    given = {"test_inputs": mini.calibration(SIZES, torch.float64), "heads": mini.heads(), "steps": 3, "lr": 0.05}
    expected = mergebench.merge("adamerging", base, made, **given)
    merged = mergebench.merge("doge_am", base, experts, density=0.4, shift_steps=10, shift_lr=1e-3, **given)
    for name, value in start.items():
        torch.testing.assert_close(merged[name], expected[name], rtol=1e-6, atol=1e-8)
        assert torch.equal(merged[name], value) == (name not in parts)


@pytest.mark.parametrize("method", ["doge_ta", "doge_am"])
def test_what_no_expert_changed_stays_the_bases(mini, method):
    base = mini.encoder()
    start, experts = base.state_dict(), mini.experts(base)
    layer, row = "blocks.0.mlp.fc1.weight", "blocks.1.attn.proj.weight"
    for expert in experts.values():
        expert[layer] = start[layer].clone()
        expert[row][5] = start[row][5]
    adapting = {"test_inputs": mini.calibration(SIZES), "heads": mini.heads(), "shift_steps": 3}
    given = adapting if method == "doge_am" else {}
    merged = mergebench.merge(method, base, experts, density=1.0, steps=3, **given)
    assert torch.equal(merged[layer], start[layer])
    assert torch.equal(merged[row][5], start[row][5])
    assert not torch.equal(merged[row][4], start[row][4])


def test_an_expert_that_is_the_base_has_no_say_and_twenty_have_each_a_direction(mini):
    base = mini.encoder(depth=1)
    experts = mini.experts(base)
    idle = experts | {"idle": {n: t.clone() for n, t in base.state_dict().items()}}
    assert all(torch.isfinite(t).all() for t in mergebench.merge("doge_ta", base, idle, steps=3).values())
    many = {f"task{i}": mini.expert(base, i) for i in range(40)}  # more than the width
    assert all(torch.isfinite(t).all() for t in mergebench.merge("doge_ta", base, many, steps=3).values())


@pytest.mark.parametrize("wrong", [{"eta": 0}, {"density": 1.2}, {"subspace": -1}, {"steps": 0}, {"lr": 0}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder(depth=1)
    with pytest.raises(MergebenchError):
        mergebench.merge("doge_ta", base, mini.experts(base), **wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_shifted_together_are_shifted_as_one_by_one(dtype):
    vectors = random(3, 4, 6, 5, scale=1e-2).to(dtype)
    vectors[1, 2], vectors[2, :, :, 1:] = 0, 0  # a task that changed nothing, and a matrix of rank one
    weights = torch.stack([task_weights(of_one, 0.07) for of_one in vectors])
    bases = [torch.linalg.qr(random(6, k, seed=k)).Q.to(dtype) for k in (2, 1, 3)]
    padded = torch.stack([torch.nn.functional.pad(basis, (0, 3 - basis.shape[1])) for basis in bases])
    together = shift(vectors, weights, padded, steps=20, lr=1e-4)
    for found, *given in zip(together, vectors, weights, bases, strict=True):
        torch.testing.assert_close(found, shift(*given, steps=20, lr=1e-4), rtol=1e-5, atol=1e-9)
