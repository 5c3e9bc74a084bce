"""FeatCal end to end: against a walk by whole forward passes, each layer solved by numpy.linalg.lstsq."""

import numpy as np
import pytest
import torch
from torch import nn

import mergebench
from mergebench import ModelPool, Needs
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.data.images import ExplicitBatches
from mergebench.errors import MergebenchError
from mergebench.merging.contract import run_method

LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


def block_inputs(encoder, index, images):
    """name -> inputs [B, N, d] of every layer of a block, in one whole forward pass; a norm's without its affine."""
    seen, handles = {}, []
    for name in LAYERS:
        module = encoder.blocks[index].get_submodule(name)

        def keep(module, inputs, name=name):
            x = inputs[0].detach()
            if isinstance(module, nn.LayerNorm):
                x = x - x.mean(-1, keepdim=True)
                x = x / (x.square().mean(-1, keepdim=True) + module.eps).sqrt()
            seen[name] = x.numpy()

        handles.append(module.register_forward_pre_hook(keep))
    with torch.no_grad():
        encoder(images)
    for handle in handles:
        handle.remove()
    return seen


def linear(student, teacher, weights, own, anchor, ridge):
    """Weight and bias of some rows: stacked least squares with the anchor as rows, then what is left for the bias."""
    left, right = [np.sqrt(ridge) * np.eye(anchor[0].shape[1])], [np.sqrt(ridge) * anchor[0].T]
    tasks = []
    for s, x, (weight, bias) in zip(student, teacher, own, strict=True):
        w = np.broadcast_to(weights, s.shape[:-1]).reshape(-1) / (weights.sum() * len(s))
        s, x = s.reshape(-1, s.shape[-1]), x.reshape(-1, x.shape[-1])
        share = 1 / np.linalg.norm((s * w[:, None]).T @ s)
        root = np.sqrt(share * w)[:, None]
        left.append(root * s)
        right.append(root * (x @ weight.T))
        tasks.append((share, w @ s, bias + weight @ (w @ x)))
    solved = np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0].T
    above = ridge * anchor[1] + sum(c * (out - solved @ mean) for c, mean, out in tasks)
    return solved, above / (ridge + sum(c for c, _, _ in tasks))


def norm(inputs, weights, own, anchor, ridge):
    """Scale and shift of a norm, channel by channel."""
    found = []
    for channel in range(inputs[0].shape[-1]):
        left = [np.sqrt(ridge) * np.eye(2)]
        right = [np.sqrt(ridge) * np.array([anchor[0][channel], anchor[1][channel]])]
        for z, (scale, shift) in zip(inputs, own, strict=True):
            root = np.sqrt(np.broadcast_to(weights, z.shape[:-1]).reshape(-1) / (weights.sum() * len(z)))
            rows = np.stack([z[..., channel].reshape(-1), np.ones(len(root))], axis=1)
            left.append(root[:, None] * rows)
            right.append(root * (rows @ [scale[channel], shift[channel]]))
        found.append(np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0])
    return np.array(found).T


def walk(mini, base, start, experts, calibration, inside=None, **settings):
    """The method on whole models: every block of the student is seen with the start's weights, then replaced."""
    settings = {"ridge": 0.05, "anchor": 2.2, "teacher": 0.25, "patch_weight": 0.01} | settings
    ridge, alpha = settings["ridge"], settings["teacher"]
    images = {t: torch.cat(b) for t, b in calibration.items()}
    state = {n: t.clone() for n, t in start.items()}
    for index in range(len(base.blocks)):
        own = [block_inputs(mini.load(base, state), index, images[t]) for t in experts]
        theirs = [block_inputs(mini.load(base, e), index, images[t]) for t, e in experts.items()]
        every = np.ones(own[0]["norm1"].shape[1])
        read = every.copy()
        if index + 1 == len(base.blocks) and base.global_pool == "token":
            read[1:] = settings["patch_weight"]
        for layer in LAYERS:
            names = [f"blocks.{index}.{layer}.{part}" for part in ("weight", "bias")]
            if inside is not None and names[0] not in inside:
                continue
            origin = [base.state_dict()[n].numpy() for n in names]
            anchor = [o + settings["anchor"] * (start[n].numpy() - o) for o, n in zip(origin, names, strict=True)]
            values = [[e[n].numpy() for n in names] for e in experts.values()]
            student = [o[layer] for o in own]
            teacher = [alpha * e[layer] + (1 - alpha) * s for e, s in zip(theirs, student, strict=True)]
            if layer.startswith("norm"):
                solved = norm(student, read, values, anchor, ridge)
            elif layer == "attn.qkv":
                cuts = [np.split(a, 3) for a in anchor]
                pieces = []
                for third, weights in enumerate((read, every, every)):
                    share = [[np.split(v, 3)[third] for v in value] for value in values]
                    pieces.append(linear(student, teacher, weights, share, [c[third] for c in cuts], ridge))
                solved = [np.concatenate(part) for part in zip(*pieces, strict=True)]
            else:
                solved = linear(student, teacher, read, values, anchor, ridge)
            state |= {n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in zip(names, solved, strict=True)}
    return state


def assert_close(found, expected, rtol=1e-6, atol=1e-7):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=rtol, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(depth=3, dtype=torch.float64)
    return base, mini.experts(base), mini.calibration(dtype=torch.float64)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"anchor": 1.0, "teacher": 1.0},
        {"ridge": 0.7, "patch_weight": 1.0},
        {"ridge": 1e-4, "teacher": 0.0, "patch_weight": 0.0},
    ],
)
@pytest.mark.parametrize("start", [("task_arithmetic", {"scaling": 0.3}), ("regmean", {"alpha": 0.5})])
def test_equals_a_walk_by_whole_forward_passes(mini, case, start, settings):
    base, experts, calibration = case
    method, own = start
    begun = mergebench.merge(method, base, experts, calibration=calibration, **own)
    merged = mergebench.merge(
        "featcal", base, experts, calibration=calibration, start=method, start_settings=own, **settings
    )
    assert_close(merged, walk(mini, base, begun, experts, calibration, **settings))


def test_it_starts_from_task_arithmetic_unasked(mini, case):
    base, experts, calibration = case
    begun = mergebench.merge("task_arithmetic", base, experts)
    merged = mergebench.merge("featcal", base, experts, calibration=calibration)
    assert_close(merged, walk(mini, base, begun, experts, calibration))
    solved = {f"blocks.{i}.{layer}.{part}" for i in range(3) for layer in LAYERS for part in ("weight", "bias")}
    assert all(torch.equal(merged[n], begun[n]) == (n not in solved) for n in merged)


def test_a_model_that_averages_its_tokens_reads_all_of_them_alike(mini):
    base = mini.encoder(dtype=torch.float64)
    base.global_pool = "avg"
    experts, calibration = mini.experts(base), mini.calibration(dtype=torch.float64)
    merged = mergebench.merge("featcal", base, experts, calibration=calibration)
    alike = mergebench.merge("featcal", base, experts, calibration=calibration, patch_weight=1.0)
    assert all(torch.equal(merged[n], alike[n]) for n in merged)
    begun = mergebench.merge("task_arithmetic", base, experts)
    assert_close(merged, walk(mini, base, begun, experts, calibration, patch_weight=1.0))


def test_patches_weigh_less_in_the_last_block_alone_and_not_for_keys_and_values(case):
    base, experts, calibration = case
    little = mergebench.merge("featcal", base, experts, calibration=calibration)
    alike = mergebench.merge("featcal", base, experts, calibration=calibration, patch_weight=1.0)
    for name in little:
        if not name.startswith("blocks.2."):
            assert torch.equal(little[name], alike[name]), name
        elif ".attn.qkv." in name:
            same = [
                torch.allclose(a, b, rtol=1e-9)
                for a, b in zip(little[name].chunk(3), alike[name].chunk(3), strict=True)
            ]
            assert same == [False, True, True], name
        else:
            assert not torch.allclose(little[name], alike[name], rtol=1e-6), name


def test_an_endless_ridge_leaves_the_anchor(case):
    base, experts, calibration = case
    begun = mergebench.merge("task_arithmetic", base, experts)
    held = mergebench.merge("featcal", base, experts, calibration=calibration, ridge=1e12, anchor=1.0)
    assert_close(held, begun)
    further = mergebench.merge("featcal", base, experts, calibration=calibration, ridge=1e12)
    for name, value in begun.items():
        if name.startswith("blocks."):
            expected = base.state_dict()[name] + 2.2 * (value - base.state_dict()[name])
            torch.testing.assert_close(further[name], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("start", ["pretrained", "task_arithmetic"])
def test_one_expert_comes_back_from_any_start_where_nothing_holds_it(mini, start):
    base = mini.encoder(depth=3, dtype=torch.float64)
    expert, images = mini.expert(base, 4), mini.images(0, 12, torch.float64)
    settings = {"start": start, "ridge": 0.0, "teacher": 0.0, "anchor": 1.0}
    merged = mergebench.merge("featcal", base, {"cars": expert}, calibration={"cars": [images]}, **settings)
    for name, value in expert.items():
        if name.startswith("blocks."):
            torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-7, msg=name)


def test_features_come_nearer_to_the_experts_than_the_starts(mini, case):
    base, experts, calibration = case

    def distance(state):
        with torch.no_grad():
            return sum(
                (mini.load(base, state)(torch.cat(calibration[t])) - mini.load(base, e)(torch.cat(calibration[t])))
                .square()
                .mean()
                for t, e in experts.items()
            )

    begun = mergebench.merge("average", base, experts)
    merged = mergebench.merge("featcal", base, experts, calibration=calibration, start="average", anchor=1.0)
    assert distance(merged) < 0.7 * distance(begun)


def test_with_the_anchor_at_the_start_the_base_is_never_read(mini):
    base, other = mini.encoder(0), mini.encoder(9)
    experts, calibration = mini.experts(base), mini.calibration()
    settings = {"start": "average", "anchor": 1.0}
    first = mergebench.merge("featcal", base, experts, calibration=calibration, **settings)
    second = mergebench.merge("featcal", other, experts, calibration=calibration, **settings)
    assert all(torch.equal(first[n], second[n]) for n in first)
    card = registry.method("featcal")
    assert registry.needs_of(card, settings) == Needs(calibration=True, blocks=True)
    assert registry.needs_of(card, settings | {"start": "ties"}) == Needs(base=True, calibration=True, blocks=True)
    of_fisher = registry.needs_of(card, {"start": "fisher"})
    assert of_fisher == Needs(base=True, calibration=True, heads=True, blocks=True)


@pytest.mark.parametrize("start", ["task_arithmetic", "pretrained"])
@pytest.mark.parametrize("prefix", ["blocks.1.", "blocks.2.mlp."])
def test_outside_the_region_it_walks_over_the_average(mini, case, prefix, start):
    base, experts, calibration = case
    inside = frozenset(n for n in base.state_dict() if n.startswith(prefix))
    function = discovery.load_function(registry.method("featcal"))
    pool = ModelPool(
        "featcal",
        Needs(base=True, calibration=True),
        base,
        base.state_dict(),
        experts,
        calibration={t: ExplicitBatches(b, t) for t, b in calibration.items()},
        region=inside,
    )
    merged = run_method(function, pool, {"start": start}, ready)
    mean, begun = mergebench.merge("average", base, experts), mergebench.merge(start, base, experts)
    begun = {n: begun[n] if n in inside else mean[n] for n in begun}
    assert_close(merged, walk(mini, base, begun, experts, calibration, inside))
    assert all(torch.equal(merged[n], mean[n]) for n in merged if n not in inside)
    assert all(name.startswith(prefix) for name in pool.diagnostics["condition"])


def test_one_image_a_task_is_enough(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    images = {t: [mini.images(i, 1)] for i, t in enumerate(experts)}
    merged = mergebench.merge("featcal", base, experts, calibration=images)
    begun = mergebench.merge("task_arithmetic", base, experts)
    expected = walk(
        mini,
        mini.encoder(dtype=torch.float64),
        {n: t.double() for n, t in begun.items()},
        {t: {n: v.double() for n, v in e.items()} for t, e in experts.items()},
        {t: [b.double() for b in batches] for t, batches in images.items()},
    )
    assert_close(merged, expected, rtol=1e-3, atol=2e-4)


def test_a_layer_without_bias_is_calibrated_as_one_whose_bias_is_naught(mini):
    base = mini.encoder(dtype=torch.float64)
    experts, calibration = mini.experts(base), mini.calibration(dtype=torch.float64)
    names = [f"blocks.{i}.attn.qkv.bias" for i in range(2)]
    bare = mini.load(base, base.state_dict())
    for block in bare.blocks:
        block.attn.qkv.bias = None
    without = {t: {n: v for n, v in e.items() if n not in names} for t, e in experts.items()}
    settings = {"calibration": calibration, "start": "average", "teacher": 0.0}
    merged = mergebench.merge("featcal", bare, without, **settings)
    # Only up to the first block, where the bias that the other one calibrates is not yet seen.
    zero = {n: torch.zeros_like(base.state_dict()[n]) for n in names}
    base.load_state_dict(dict(base.state_dict(), **zero))
    full = mergebench.merge("featcal", base, {t: e | zero for t, e in experts.items()}, **settings)
    assert set(full) - set(merged) == set(names)
    torch.testing.assert_close(merged["blocks.0.attn.qkv.weight"], full["blocks.0.attn.qkv.weight"])
    torch.testing.assert_close(merged["blocks.0.mlp.fc2.bias"], full["blocks.0.mlp.fc2.bias"])


@pytest.mark.parametrize("wrong", [{"ridge": -0.1}, {"teacher": 1.5}, {"patch_weight": -1}, {"samples": 0}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("featcal", base, mini.experts(base), calibration=mini.calibration(), **wrong)
