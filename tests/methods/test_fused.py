"""Query, key and value stored as one matrix give what three matrices of their own give, in every spectral method."""

import pytest
import torch

from mergebench.merging.layout import Layout
from mergebench.methods.actmat import regression_on_vectors
from mergebench.methods.cart import leading_deviations
from mergebench.methods.dc_merge import combined_in_shared_basis
from mergebench.methods.iso import common_and_specific, flattened_sum
from mergebench.methods.opcm import accumulated
from mergebench.methods.subspace_boosting import boosted
from mergebench.methods.svc import calibrated_spectrum, calibrated_whole
from mergebench.methods.swudi import filtered_minimum
from mergebench.methods.tsv_m import decorrelated_sum
from mergebench.methods.wudi import least_interference

NAME = "blocks.0.attn.qkv.weight"
SVC = {"start_settings": {"scaling": 0.8}}
# name -> the method, its settings, and what it makes of the task matrices [T, m, n] of one matrix.
CASES = {
    "tsv_m": ("tsv_m", {}, decorrelated_sum),
    "iso_c": ("iso_c", {"scaling": 1}, flattened_sum),
    "iso_cts": ("iso_cts", {"scaling": 1}, lambda vectors: common_and_specific(vectors, 0.8)),
    "wudi": ("wudi", {"steps": 20, "lr": 1e-3}, lambda vectors: least_interference(vectors, 20, 1e-3)),
    "swudi": ("swudi", {}, lambda vectors: filtered_minimum(vectors, 21, 1300.0)),
    "aswudi": ("aswudi", {}, lambda vectors: filtered_minimum(vectors, None)),
    "actmat": ("actmat", {}, lambda vectors: regression_on_vectors(vectors, 0.0)),
    "dc_merge": ("dc_merge", {"density": 0.05}, lambda vectors: combined_in_shared_basis(vectors, 0.05)),
    "cart": ("cart", {"qkv": "apart"}, lambda vectors: vectors.mean(0) + 2 * leading_deviations(vectors, 0.12)),
    "subspace_boosting": ("subspace_boosting", {}, lambda vectors: boosted(0.3 * vectors.sum(0), 0.01)),
    "opcm": ("opcm", {}, lambda vectors: accumulated(vectors, 0.5)),
    "svc": ("svc", SVC, lambda vectors: calibrated_spectrum(0.8 * vectors.sum(0), vectors, 1 / 3)),
    "svc, layer": (
        "svc",
        SVC | {"mode": "layer"},
        lambda vectors: calibrated_whole(0.8 * vectors.sum(0), vectors, 1 / 3),
    ),
}


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base, base.state_dict(), mini.experts(base)


def delta(mini, method, settings, base, experts):
    """What a method adds to the fused matrix, without the scale that OPCM takes from the whole model."""
    merged, pool = mini.run(method, base, experts, **settings)
    return (merged[NAME] - base.state_dict()[NAME]) * pool.diagnostics.get("scaling", 1)


@pytest.mark.parametrize("name", CASES)
def test_each_third_is_what_its_own_task_matrices_make(mini, case, name):
    base, start, experts = case
    method, settings, alone = CASES[name]
    vectors = torch.stack([e[NAME] - start[NAME] for e in experts.values()])
    made = delta(mini, method, settings, base, experts)
    for third, part in zip(made.chunk(3), vectors.chunk(3, dim=1), strict=True):
        torch.testing.assert_close(third, alone(part), rtol=1e-9, atol=1e-11)
    assert not torch.allclose(made, alone(vectors), rtol=1e-5, atol=0), "as one matrix it would be another"


@pytest.mark.parametrize("name", CASES)
def test_a_third_does_not_know_its_place_or_its_neighbours(mini, case, name):
    base, start, experts = case
    method, settings, _ = CASES[name]
    made = delta(mini, method, settings, base, experts)
    for third in range(3):
        # An encoder whose fused matrix holds one of the three in all places.
        def only(state, third=third):
            return dict(state, **{NAME: torch.cat([state[NAME].chunk(3)[third]] * 3)})

        alone = mini.load(base, only(start))
        again = delta(mini, method, settings, alone, {t: only(e) for t, e in experts.items()})
        for part in again.chunk(3):
            torch.testing.assert_close(part, made.chunk(3)[third], rtol=1e-9, atol=1e-11)


def test_the_three_matrices_are_what_separate_projections_would_hold(mini):
    """Attention by three projections of their own, in plain products, gives what timm's with the fused matrix gives."""
    base = mini.encoder(dtype=torch.float64)
    layout, state, attention = Layout(base), base.state_dict(), base.blocks[0].attn
    tokens = torch.randn(2, 5, base.embed_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = layout.matrices("blocks.0.attn.qkv.weight", state["blocks.0.attn.qkv.weight"])
    biases = state["blocks.0.attn.qkv.bias"].chunk(3)
    heads = attention.num_heads
    q, k, v = (
        (tokens @ w.T + b).unflatten(-1, (heads, -1)).transpose(1, 2) for w, b in zip(weights, biases, strict=True)
    )
    mixed = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
    expected = (
        mixed.transpose(1, 2).flatten(2) @ state["blocks.0.attn.proj.weight"].T + state["blocks.0.attn.proj.bias"]
    )
    torch.testing.assert_close(attention(tokens), expected)
