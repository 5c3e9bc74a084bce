"""Gradients taken back by hand: those of the plain formula, by automatic differentiation through `functional_call`."""

import pytest
import torch
from torch.func import functional_call

from mergebench.methods import vectors as module
from mergebench.methods.components import decompose

CASES = ("plain", "float16 experts", "layer scale", "buffer", "one image a task", "a single task")


def case_of(mini, case):
    """Base, experts and images in float32, with what the case is about."""
    base = mini.encoder()
    if case == "layer scale":
        from timm.layers import LayerScale

        for i, block in enumerate(base.blocks):
            block.ls1, block.ls2 = LayerScale(32, init_values=0.5 + i), LayerScale(32, init_values=0.3)
    if case == "buffer":
        value = base.pos_embed.detach().clone()
        del base.pos_embed
        base.register_buffer("pos_embed", value)
    if case == "float16 experts":
        base = base.half()
    experts = mini.experts(base)
    sizes = {t: (1,) for t in mini.tasks} if case == "one image a task" else None
    images = mini.calibration(sizes)
    if case == "a single task":
        experts, images = ({"cars": x["cars"]} for x in (experts, images))
    return base, experts, images


def plain_entropy(base, state, heads, images):
    """The objective at a differentiable state, of each task's first batch."""
    encoder = base.float()
    total = 0
    for task, batches in images.items():
        p = heads[task](functional_call(encoder, state, (batches[0],))).softmax(-1)
        total = total - (p * p.log()).sum(-1).mean()
    return total


@pytest.fixture
def gradients(monkeypatch):
    """What Adam is given at each step."""
    seen = []
    step = torch.optim.Adam.step

    def recorded(self):
        seen.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
        return step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    return seen


def assert_near(found, expected):
    assert (found - expected).norm() <= 1e-5 * expected.norm(), (found - expected).norm() / expected.norm()


@pytest.mark.parametrize("large", [1, 2**18])
@pytest.mark.parametrize("granularity", ["layer", "task"])
@pytest.mark.parametrize("case", CASES)
def test_coefficients(mini, monkeypatch, gradients, case, granularity, large):
    monkeypatch.setattr(module, "LARGE", large)
    base, experts, images = case_of(mini, case)
    heads = {t: mini.heads()[t] for t in experts}
    mini.run(
        "adamerging", base, experts, test_inputs=images, heads=heads, steps=1, init=0.3, granularity=granularity
    )  # fmt: skip

    start = {n: t.float() for n, t in base.state_dict().items()}
    rows = len(start) if granularity == "layer" else 1
    table = torch.full((rows, len(experts)), 0.3, requires_grad=True)
    state = {
        n: t + sum(c * (e[n].float() - t) for c, e in zip(table[i % rows], experts.values(), strict=True))
        for i, (n, t) in enumerate(start.items())
    }
    plain_entropy(base, state, heads, images).backward()
    assert_near(gradients[0][0], table.grad)


@pytest.mark.parametrize("case", CASES[:5])
def test_components(mini, gradients, case):
    base, experts, images = case_of(mini, case)
    heads = mini.heads()
    settings = {"centre": "base", "init": 0.4, "rank": 0.5, "temperature": 2.0, "steps": 1}
    mini.run("adarank", base, experts, test_inputs=images, heads=heads, **settings)

    start = {n: t.float() for n, t in base.state_dict().items()}
    table = torch.full((len(start), len(experts)), 0.4, requires_grad=True)
    state, scores = {}, []
    for row, (name, value) in zip(table, start.items(), strict=True):
        changes = torch.stack([e[name].float() - value for e in experts.values()])
        if name.startswith("blocks.") and value.ndim == 2:
            parts = decompose(changes)
            first = torch.arange(parts.values.shape[1]) < parts.values.shape[1] // 2
            score = torch.where(first, 0.1, -0.1).repeat(len(experts), 1).requires_grad_()
            soft = (score / 2.0).sigmoid()
            gates = (score > 0) + soft - soft.detach()
            weights = row[:, None] * gates * parts.values
            state[name] = value + (parts.left.T * weights.flatten()) @ parts.right
            scores.append(score)
        else:
            state[name] = value + torch.tensordot(row, changes, dims=1)
    plain_entropy(base, state, heads, images).backward()
    found, along = gradients[0]
    assert_near(found, table.grad)
    assert_near(along, torch.cat([score.grad for score in scores], dim=1))


def test_slopes_of_a_clamped_coefficient_end_where_it_is_cut(mini, gradients):
    base, experts, images = case_of(mini, "plain")
    for init, moves in ((0.5, True), (1.5, False)):
        gradients.clear()
        mini.run(
            "adamerging", base, experts, test_inputs=images, heads=mini.heads(), steps=1, init=init, clamp=True
        )  # fmt: skip
        assert bool(gradients[0][0].any()) == moves
