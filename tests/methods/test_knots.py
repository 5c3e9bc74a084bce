"""KnOTS against NumPy, on LoRA experts and on whole ones."""

import numpy as np
import pytest
import torch


def knots(vectors, density):
    """name -> the merged change, of name -> [matrices of every task], one list for each matrix of it."""
    bases, aligned = {}, {}
    for name, parts in vectors.items():
        for i, tasks in enumerate(parts):
            u, s, _ = np.linalg.svd(np.hstack(tasks), full_matrices=False)
            bases[name, i] = u[:, s > 1e-5]
            aligned[name, i] = [bases[name, i].T @ matrix for matrix in tasks]
    count = len(next(iter(aligned.values())))
    flat = [np.concatenate([tasks[t].ravel() for tasks in aligned.values()]) for t in range(count)]
    bars = [np.sort(np.abs(one))[-int(density * one.size)] for one in flat]
    kept = np.array([np.where(np.abs(one) >= bar, one, 0) for one, bar in zip(flat, bars, strict=True)])
    sign = np.sign(kept.sum(0))
    sign[sign == 0] = np.sign(sign.sum())
    agree = np.where(kept * sign > 0, kept, 0)
    merged = agree.sum(0) / np.maximum((agree != 0).sum(0), 1)
    made, place = {}, 0
    for (name, i), tasks in aligned.items():
        own = merged[place : place + tasks[0].size].reshape(tasks[0].shape)
        place += tasks[0].size
        made.setdefault(name, []).append(bases[name, i] @ own)
    return {name: np.concatenate(parts) for name, parts in made.items()}


def task_matrices(base, experts):
    """name -> for each of its matrices, those of all tasks; of what has two dimensions larger than one."""
    found = {}
    for name, value in base.items():
        if sum(side > 1 for side in value.shape) == 2:
            of_tasks = [(e[name] - value).squeeze().numpy() for e in experts.values()]
            split = [np.split(matrix, 3 if "qkv" in name else 1) for matrix in of_tasks]
            if any(matrix.any() for matrix in of_tasks):
                found[name] = [list(tasks) for tasks in zip(*split, strict=True)]
    return found


@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.filterwarnings("ignore")
def test_lora_experts_are_merged_in_their_shared_basis(mini, lora_experts, density):
    base = mini.encoder(dtype=torch.float64)
    experts = lora_experts(base)
    merged, _ = mini.run("knots", base, experts, density=density)
    expected = knots(task_matrices(base.state_dict(), experts), density)
    assert len(expected) == 8
    for name, value in base.state_dict().items():
        change = torch.from_numpy(0.6 * expected[name]) if name in expected else torch.zeros_like(value)
        torch.testing.assert_close(merged[name], value + change, rtol=1e-7, atol=1e-8, msg=name)


def test_whole_experts_are_decomposed(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged, _ = mini.run("knots", base, experts, density=0.3, scaling=0.5)
    expected = knots(task_matrices(base.state_dict(), experts), 0.3)
    for name, value in base.state_dict().items():
        change = expected.get(name)
        if change is None:
            change = np.mean([(e[name] - value).numpy() for e in experts.values()], 0)
        wanted = value + 0.5 * torch.from_numpy(change).view_as(value)
        torch.testing.assert_close(merged[name], wanted, rtol=1e-7, atol=1e-8, msg=name)


def test_dare_drops_coordinates_and_the_seed_decides_which(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    given = {"density": 1.0, "scaling": 0.7, "rate": 0.5}
    one, again, other = (mini.run("knots", base, experts, seed=s, **given)[0] for s in (0, 0, 1))
    name = "blocks.0.mlp.fc1.weight"
    assert torch.equal(one[name], again[name]) and not torch.allclose(one[name], other[name])


def test_experts_that_are_the_base_give_the_base(mini):
    base = mini.encoder(dtype=torch.float64)
    same = {t: base.state_dict() for t in mini.tasks}
    for method in ("knots", "core_space"):
        merged, _ = mini.run(method, base, same)
        assert all(torch.equal(merged[name], value) for name, value in base.state_dict().items())
