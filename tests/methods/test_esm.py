"""ESM: against the outputs themselves, decomposed by NumPy, and whole forward passes of the experts."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.esm import essential_part, output_directions


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layer_inputs(encoder, name, images):
    seen = []
    handle = encoder.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(images)
    handle.remove()
    return seen[0].flatten(0, -2).numpy()


def flat(matrix):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return s.mean() * u @ vt


def essential(vectors, inputs):
    """One layer's merged change, of task matrices and inputs in lists."""
    count = len(vectors[0]) // len(vectors)
    sizes = [np.linalg.norm(v) for v in vectors]
    columns, rows = [], []
    for vector, fed, size in zip(vectors, inputs, sizes, strict=True):
        _, s, vt = np.linalg.svd(fed @ vector.T, full_matrices=False)
        variance, directions = s[:count] ** 2 / (len(fed) - 1), vt[:count].T
        weights = (variance / variance.mean()) ** 0.15
        weights = weights / weights.mean()
        columns.append(directions * weights)
        rows.append((directions.T @ vector) * weights[:, None] * size**2 / np.mean(sizes) ** 2)
    rows = np.concatenate(rows)
    lengths = np.linalg.norm(rows, axis=0)
    return 2 * flat(np.concatenate(columns, axis=1)) @ flat(rows * (lengths / lengths.mean()) ** 2)


def tsv(vectors):
    count = min(vectors[0].shape) // len(vectors)
    parts = [np.linalg.svd(v, full_matrices=False) for v in vectors]
    u = np.concatenate([p[0][:, :count] for p in parts], axis=1)
    s = np.concatenate([p[1][:count] for p in parts])
    vt = np.concatenate([p[2][:count] for p in parts])
    (a, _, b), (c, _, d) = (np.linalg.svd(x, full_matrices=False) for x in (u, vt))
    return a @ b @ np.diag(s) @ c @ d


def test_every_parameter_gets_its_due(mini):
    base = mini.encoder(dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    images = {
        t: [mini.images(i, 7, torch.float64), mini.images(10 + i, 5, torch.float64)] for i, t in enumerate(experts)
    }
    merged = mergebench.merge("esm", base, experts, calibration=images, scaling=0.8)
    deltas = {}
    for name, value in start.items():
        vectors = [(e[name] - value).squeeze().numpy() for e in experts.values()]
        delta = np.mean(vectors, axis=0)
        layer = name.removesuffix(".weight")
        if layer.endswith(("attn.qkv", "mlp.fc1", "mlp.fc2")):
            fed = [layer_inputs(mini.load(base, e), layer, torch.cat(images[t])) for t, e in experts.items()]
            if not name.endswith("bias"):
                delta = essential(vectors, fed)
        elif vectors[0].ndim == 2 and min(vectors[0].shape) > 1:
            delta = tsv(vectors)
        deltas[name] = delta
    for kind in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
        names = [f"blocks.{i}.{kind}.weight" for i in range(len(base.blocks))]
        norms = [np.linalg.norm(deltas[name]) for name in names]
        for name, norm in zip(names, norms, strict=True):
            deltas[name] = deltas[name] * (norm / np.mean(norms)) ** 2
    for name, value in start.items():
        expected = value.numpy() + 0.8 * deltas[name].reshape(value.shape)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (12, 4)])
def test_directions_are_those_of_the_outputs(shape):
    vector, fed = normal(0, *shape), normal(1, 30, shape[1])
    directions, values = output_directions(vector, fed.T @ fed)
    _, s, vt = np.linalg.svd((fed @ vector.T).numpy(), full_matrices=False)
    np.testing.assert_allclose(values.numpy()[: min(shape)], s[: min(shape)] ** 2, rtol=1e-8)
    for place in range(min(shape)):
        assert abs(directions[:, place].numpy() @ vt[place]) == pytest.approx(1, abs=1e-8)


def test_few_images_leave_the_directions_that_nothing_moved_along_out():
    vector, fed = normal(2, 8, 6), normal(3, 2, 6)
    part = essential_part(vector, fed.T @ fed, 4)
    assert torch.equal(part.columns.abs().sum(0) > 0, torch.tensor([True, True, False, False]))
    assert torch.isfinite(part.columns).all() and torch.isfinite(part.rows).all()
    nothing = essential_part(0 * vector, fed.T @ fed, 4)
    assert not nothing.rows.any() and torch.isfinite(nothing.columns).all()


def test_values_out_of_range_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="samples"):
        images = {t: [mini.images(i, 2)] for i, t in enumerate(mini.tasks)}
        mergebench.merge("esm", base, mini.experts(base), calibration=images, samples=0)
