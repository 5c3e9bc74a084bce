"""ProDistill: against a loop with torch's own gradients by the factors, and whole forward passes."""

import pytest
import torch
from torch.func import functional_call

import mergebench
from mergebench.errors import MergebenchError


def up_to(encoder, state, index, images):
    """Tokens in front of block `index` of an encoder that holds a state."""
    encoder.load_state_dict(state)
    seen = []
    handle = encoder.blocks[index].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(images)
    handle.remove()
    return seen[0]


def written_out(base, experts, images, steps, lr, scaling):
    """Every block's factors by Adam from one graph, unfused; the key biases' are left where they begin."""
    start = {n: v.clone() for n, v in base.state_dict().items()}
    vectors = {n: torch.stack([e[n] - v for e in experts.values()]) for n, v in start.items()}
    state = {n: v + scaling * vectors[n].sum(0) for n, v in start.items()}
    for index, block in enumerate(base.blocks):
        inner = {n: f"blocks.{index}.{n}" for n, _ in block.named_parameters()}
        fed = [up_to(base, state, index, x) for x in images]
        wanted = []
        for expert, x in zip(experts.values(), images, strict=True):
            tokens = up_to(base, expert, index, x)
            with torch.no_grad():
                wanted.append(base.blocks[index](tokens))
        factors = {n: torch.full_like(vectors[full], scaling).requires_grad_() for n, full in inner.items()}
        optimizer = torch.optim.Adam(list(factors.values()), lr=lr, foreach=False)

        def weights(factors=factors, inner=inner):
            return {n: start[full] + (factors[n] * vectors[full]).sum(0) for n, full in inner.items()}

        for _ in range(steps):
            optimizer.zero_grad()
            made = weights()
            sum(
                (functional_call(block, made, (x,)) - y).square().mean() for x, y in zip(fed, wanted, strict=True)
            ).backward()
            bias = factors["attn.qkv.bias"]
            bias.grad[:, bias.shape[1] // 3 : 2 * bias.shape[1] // 3] = 0
            optimizer.step()
        state |= {inner[n]: value.detach() for n, value in weights().items()}
    base.load_state_dict(start)
    return state


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base, mini.experts(base), {t: [mini.images(i, 6, torch.float64)] for i, t in enumerate(mini.tasks)}


@pytest.mark.parametrize("settings", [{"steps": 12, "lr": 0.02}, {"steps": 3, "lr": 0.1, "scaling": 0.5}, {"steps": 0}])
def test_every_block_against_the_written_out_loop(mini, case, settings):
    base, experts, images = case
    merged = mergebench.merge("prodistill", base, experts, calibration=images, **settings)
    given = {"steps": 100, "lr": 0.01, "scaling": 0.3} | settings
    expected = written_out(mini.load(base, base.state_dict()), experts, [x for (x,) in images.values()], **given)
    for name, value in expected.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-7, atol=1e-8, msg=name)


def test_errors_fall_block_by_block(mini, case):
    base, experts, images = case
    _, pool = mini.run("prodistill", base, experts, calibration=images, steps=40)
    errors = pool.diagnostics["errors"]
    assert list(errors) == [f"blocks.{i}" for i in range(len(base.blocks))]
    assert all(0 < after < before for before, after in errors.values())


def test_batches_do_not_show(mini, case):
    base, experts, images = case
    pieces = {t: [x[:2], x[2:5], x[5:]] for t, (x,) in images.items()}
    whole, cut = (
        mergebench.merge("prodistill", base, experts, calibration=given, steps=5) for given in (images, pieces)
    )
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-7, atol=1e-9)


def test_what_no_expert_changed_stays(mini, case):
    base, experts, images = case
    frozen = "blocks.1.mlp.fc1.weight"
    start = base.state_dict()
    kept = {t: {**e, frozen: start[frozen]} for t, e in experts.items()}
    merged = mergebench.merge("prodistill", base, kept, calibration=images, steps=3)
    assert torch.equal(merged[frozen], start[frozen])


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0}, {"samples": 0}])
def test_values_out_of_range_are_refused(case, wrong):
    base, experts, images = case
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("prodistill", base, experts, calibration=images, **wrong)
