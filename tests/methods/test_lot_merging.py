"""LOT Merging: against numpy.linalg.lstsq on features that own hooks collect, layer by layer."""

import numpy as np
import pytest
import torch
from torch import nn

import mergebench
from mergebench import ModelPool
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.data.images import ExplicitBatches
from mergebench.merging.contract import run_method
from mergebench.merging.method import Needs


def features(encoder, batches):
    """name -> what the weight of every linear layer and norm multiplies: rows [n, d] in one whole forward pass."""
    rows, handles = {}, []

    def keep(name, module):
        def hook(_, inputs, output):
            x = inputs[0].detach()
            if name == "norm":
                x = x[:, 0]  # the class token alone is read
            if isinstance(module, nn.LayerNorm):
                x = x - x.mean(-1, keepdim=True)
                x = x / (x.square().mean(-1, keepdim=True) + module.eps).sqrt()
            rows.setdefault(name, []).append(x.reshape(-1, x.shape[-1]).numpy())

        return hook

    for name, module in encoder.named_modules():
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            handles.append(module.register_forward_hook(keep(name, module)))
    with torch.no_grad():
        for batch in batches:
            encoder(batch)
    for handle in handles:
        handle.remove()
    return {n: np.concatenate(r) for n, r in rows.items()}


def solve(base, experts, rows):
    """The task vector that the stacked problem gives, smallest where it is not determined, on top of the base."""
    vectors = [e - base for e in experts]
    if base.ndim == 2:
        targets = np.concatenate([x @ v.T for x, v in zip(rows, vectors, strict=True)])
        return base + np.linalg.lstsq(np.concatenate(rows), targets, rcond=1e-9)[0].T
    found = [
        np.linalg.lstsq(
            np.concatenate([x[:, i] for x in rows])[:, None],
            np.concatenate([x[:, i] * v[i] for x, v in zip(rows, vectors, strict=True)]),
            rcond=None,
        )[0][0]
        for i in range(len(base))
    ]
    return base + np.array(found)


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    experts, calibration = mini.experts(base), mini.calibration(dtype=torch.float64)
    rows = {t: features(mini.load(base, experts[t]), calibration[t]) for t in experts}
    return base, experts, calibration, rows


def check(merged, base, experts, rows):
    """Every parameter against the stacked problem; returns how many were solved."""
    solved = {f"{n}.weight": [r[n] for r in rows.values()] for n in next(iter(rows.values()))}
    for name, start in base.state_dict().items():
        start, ends = start.numpy(), [e[name].numpy() for e in experts.values()]
        expected = solve(start, ends, solved[name]) if name in solved else np.mean(ends, axis=0)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-6, atol=1e-7, err_msg=name)
    return len(solved)


def test_every_layer_is_least_squares_on_the_experts_own_features(case):
    base, experts, calibration, rows = case
    merged = mergebench.merge("lot_merging", base, experts, calibration=calibration)
    # Four linear layers and two norms a block, the norms in front of and behind the blocks.
    assert check(merged, base, experts, rows) == 6 * len(base.blocks) + 2


def test_an_encoder_that_averages_its_tokens_normalises_them_first(mini):
    base = mini.encoder(dtype=torch.float64, pre_norm=False)
    base.global_pool = "avg"
    base.fc_norm, base.norm = base.norm, nn.Identity()
    experts, calibration = mini.experts(base), mini.calibration(dtype=torch.float64)
    rows = {t: features(mini.load(base, experts[t]), calibration[t]) for t in experts}
    assert "fc_norm" in rows["cars"]
    assert "norm_pre" not in rows["cars"]
    merged = mergebench.merge("lot_merging", base, experts, calibration=calibration)
    check(merged, base, experts, rows)


def test_one_expert_alone_comes_back(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 3)
    images = {"cars": [mini.images(0, 9, torch.float64)]}
    merged = mergebench.merge("lot_merging", base, {"cars": expert}, calibration=images)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-7, atol=1e-9, msg=name)


def test_one_image_moves_the_weights_no_further_than_its_features_reach(mini):
    base = mini.encoder(dtype=torch.float64)
    expert, image = mini.expert(base, 3), mini.images(0, 1, torch.float64)
    merged = mergebench.merge("lot_merging", base, {"cars": expert}, calibration={"cars": [image]})
    rows = features(mini.load(base, expert), [image])
    short = 0
    for name, x in rows.items():
        key = f"{name}.weight"
        moved, wanted = merged[key] - base.state_dict()[key], expert[key] - base.state_dict()[key]
        if moved.ndim == 2 and np.linalg.matrix_rank(x) < x.shape[1]:
            short += 1
            seen = np.linalg.pinv(x, rcond=1e-9) @ x
            np.testing.assert_allclose(moved.numpy(), wanted.numpy() @ seen, rtol=1e-5, atol=1e-6, err_msg=name)
    assert short >= 2 * len(base.blocks)
    with torch.no_grad():
        encoded = mini.load(base, merged)(image)
        torch.testing.assert_close(encoded, mini.load(base, expert)(image), rtol=1e-4, atol=1e-5)


def test_what_no_expert_moved_stays_bit_for_bit(mini):
    base = mini.encoder()
    start, experts = base.state_dict(), mini.experts(base)
    frozen = ("blocks.0.attn.qkv.weight", "blocks.1.norm2.weight", "blocks.1.mlp.fc2.bias", "cls_token", "norm.weight")
    for expert in experts.values():
        expert.update({n: start[n] for n in frozen})
    merged = mergebench.merge("lot_merging", base, experts, calibration=mini.calibration())
    assert all(torch.equal(merged[n], start[n]) for n in frozen)


def test_how_images_are_batched_does_not_matter_and_how_many_a_task_has_does(case):
    base, experts, calibration, _ = case
    whole = mergebench.merge("lot_merging", base, experts, calibration=calibration)
    split = {t: list(torch.cat(b).split(3)) for t, b in calibration.items()}
    again = mergebench.merge("lot_merging", base, experts, calibration=split)
    for name in whole:
        torch.testing.assert_close(again[name], whole[name], rtol=1e-7, atol=1e-9)
    more = mergebench.merge("lot_merging", base, experts, calibration=dict(calibration, cars=calibration["cars"] * 3))
    assert not torch.allclose(more["blocks.0.mlp.fc1.weight"], whole["blocks.0.mlp.fc1.weight"], rtol=1e-4, atol=1e-5)


def test_layers_outside_the_region_are_not_solved(case):
    base, experts, calibration, rows = case
    inside = frozenset(n for n in base.state_dict() if n.startswith("blocks.1.mlp."))
    function = discovery.load_function(registry.method("lot_merging"))
    sources = {t: ExplicitBatches(b, t) for t, b in calibration.items()}
    needs = Needs(base=True, calibration=True)
    pool = ModelPool("lot_merging", needs, base, base.state_dict(), experts, calibration=sources, region=inside)
    merged = run_method(function, pool, {"samples": 64}, ready)
    assert set(pool.diagnostics["condition"]) == {"blocks.1.mlp.fc1", "blocks.1.mlp.fc2"}
    kept = {t: {n: x for n, x in r.items() if f"{n}.weight" in inside} for t, r in rows.items()}
    check(merged, base, experts, kept)
