"""Core space against NumPy, on LoRA experts and on whole ones, with every inner method."""

import numpy as np
import pytest
import torch

from mergebench.methods.core_space import cores
from mergebench.methods.factors import factors

THEN = {
    "task_arithmetic": {},
    "ties": {"density": 0.3},
    "iso_c": {},
    "tsv_m": {},
}
LAYERS = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def basis(columns):
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return u[:, s > 1e-10 * s[0]]


def polar(matrix):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return u[:, s > 1e-10 * s[0]] @ vt[s > 1e-10 * s[0]]


def inner(then, small, density=0.3):
    total = sum(small)
    if then == "task_arithmetic":
        return total
    if then == "iso_c":
        u, s, vt = np.linalg.svd(total, full_matrices=False)
        return s.mean() * u @ vt
    if then == "tsv_m":
        count = min(total.shape) // len(small)
        cut = [[x[0][:, :count], x[1][:count], x[2][:count]] for x in map(np.linalg.svd, small)]
        left, right = np.hstack([u for u, _, _ in cut]), np.vstack([vt for _, _, vt in cut])
        return polar(left) @ np.diag(np.concatenate([s for _, s, _ in cut])) @ polar(right)
    kept = []
    for matrix in small:
        bar = np.sort(np.abs(matrix).ravel())[-int(density * matrix.size)]
        kept.append(np.where(np.abs(matrix) >= bar, matrix, 0))
    sign = np.sign(sum(kept))
    sign[sign == 0] = np.sign(np.sign(sum(kept)).sum())
    agree = np.array([np.where(matrix * sign > 0, matrix, 0) for matrix in kept])
    return agree.sum(0) / np.maximum((agree != 0).sum(0), 1)


def merged_by_hand(then, ups, downs):
    u, v = basis(np.hstack(ups)), basis(np.hstack([a.T for a in downs]))
    return u @ inner(then, [u.T @ b @ a @ v for b, a in zip(ups, downs, strict=True)]) @ v.T


def by_svd(matrix):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return u * np.sqrt(s), np.sqrt(s)[:, None] * vt


@pytest.mark.parametrize("then", THEN)
@pytest.mark.filterwarnings("ignore")
def test_lora_experts_are_merged_in_the_space_of_their_factors(mini, lora_experts, then):
    base = mini.encoder(dtype=torch.float64)
    experts = lora_experts(base, (2, 2, 2))
    merged, _ = mini.run("core_space", base, experts, then=then, scaling=0.7, **THEN[then])
    for name, value in base.state_dict().items():
        if not name.endswith(LAYERS) or not name.startswith("blocks."):
            torch.testing.assert_close(merged[name], value, rtol=0, atol=1e-12)
            continue
        stored = [[f.numpy() for f in expert.low_rank(name)] for expert in experts.values()]
        parts = [np.split(b, 3 if "qkv" in name else 1) for b, _ in stored]
        made = [merged_by_hand(then, ups, [a for _, a in stored]) for ups in zip(*parts, strict=True)]
        expected = value + 0.7 * torch.from_numpy(np.concatenate(made))
        torch.testing.assert_close(merged[name], expected, rtol=1e-7, atol=1e-8, msg=name)


@pytest.mark.parametrize("then", THEN)
def test_whole_experts_are_decomposed(mini, then):
    base = mini.encoder(dtype=torch.float64)
    experts, theta = mini.experts(base), base.state_dict()
    merged, _ = mini.run("core_space", base, experts, then=then, scaling=0.7, **THEN[then])
    for name, value in theta.items():
        vectors = [(e[name] - value).numpy() for e in experts.values()]
        if not (name.startswith("blocks.") and value.ndim == 2):
            if value.ndim < 2:
                torch.testing.assert_close(merged[name], value + 0.7 * torch.from_numpy(np.mean(vectors, 0)))
            continue
        pairs = [[by_svd(part) for part in np.split(v, 3 if "qkv" in name else 1)] for v in vectors]
        made = [merged_by_hand(then, *zip(*tasks, strict=True)) for tasks in zip(*pairs, strict=True)]
        expected = value + 0.7 * torch.from_numpy(np.concatenate(made))
        torch.testing.assert_close(merged[name], expected, rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_lost_in_the_core(mini, lora_experts):
    base = mini.encoder(dtype=torch.float64)
    experts = lora_experts(base)
    _, pool = mini.run("core_space", base, experts)
    name = "blocks.1.attn.qkv.weight"
    for part, pairs in enumerate(factors(pool, name)):
        left, small, right = cores(pairs)
        assert small.shape[1:] == (7, 7)
        for task, core in zip(pool.tasks, small, strict=True):
            third = pool.vector(task, name).chunk(3)[part]
            torch.testing.assert_close(left @ core @ right.T, third, rtol=1e-9, atol=1e-10)


def test_what_dare_drops_is_decided_by_the_seed(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    one, again, other = (mini.run("core_space", base, experts, then="dare", seed=s)[0] for s in (0, 0, 1))
    whole, _ = mini.run("core_space", base, experts, then="dare", rate=0.0)
    name = "blocks.0.mlp.fc1.weight"
    assert torch.equal(one[name], again[name]) and not torch.allclose(one[name], other[name])
    summed, _ = mini.run("core_space", base, experts, then="task_arithmetic")
    torch.testing.assert_close(whole[name], summed[name])
