"""RegMean++, and RegMean by layers, end to end: held to a block walk of its own, with its own forward pass."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import mergebench

HEADS = 2
PATCH = 8


def embed(state, images):
    """Images -> tokens, by the definition of a ViT: patches, class token, positions, and CLIP's norm in front."""
    patches = F.conv2d(images, state["patch_embed.proj.weight"], state.get("patch_embed.proj.bias"), stride=PATCH)
    patches = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([state["cls_token"].expand(len(images), -1, -1), patches], dim=1) + state["pos_embed"]
    if "norm_pre.weight" in state:
        tokens = norm(state, "norm_pre", tokens)
    return tokens


def norm(state, name, tokens):
    mean = tokens.mean(-1, keepdim=True)
    variance = ((tokens - mean) ** 2).mean(-1, keepdim=True)
    return (tokens - mean) / (variance + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def block(state, index, tokens):
    """One pre-norm transformer block: its output, and the input of each of its four linear layers."""
    name = f"blocks.{index}"
    inputs = {}

    def linear(layer, x):
        inputs[f"{name}.{layer}"] = x
        return x @ state[f"{name}.{layer}.weight"].T + state[f"{name}.{layer}.bias"]

    batch, length, width = tokens.shape
    qkv = linear("attn.qkv", norm(state, f"{name}.norm1", tokens))
    q, k, v = qkv.view(batch, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
    attention = (q @ k.transpose(-1, -2) / (width // HEADS) ** 0.5).softmax(-1)
    mixed = (attention @ v).transpose(1, 2).reshape(batch, length, width)
    tokens = tokens + linear("attn.proj", mixed)
    hidden = linear("mlp.fc1", norm(state, f"{name}.norm2", tokens))
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return tokens + linear("mlp.fc2", hidden), inputs


def solve(grams, weights, alpha):
    left = right = 0
    for gram, weight in zip(grams, weights, strict=True):
        shrunk = np.where(np.eye(len(gram)) == 1, gram, alpha * gram)
        left, right = left + shrunk, right + shrunk @ weight.T
    return torch.from_numpy(np.linalg.solve(left, right).T)


def gram(rows):
    rows = rows.flatten(0, -2).numpy()
    return rows.T @ rows / len(rows)


def walk(base, experts, calibration, *, depth, alpha, final_norm, granularity="block", source="merged"):
    """Section 4 of the paper: blocks in order, each fed by the merged blocks before it, or by the expert's own."""
    merged = {n: sum(e[n] for e in experts.values()) / len(experts) for n in base}
    prefixes = {t: merged if source == "merged" else e for t, e in experts.items()}
    tokens = {t: embed(prefixes[t], torch.cat(calibration[t])) for t in experts}
    for index in range(depth):
        layers = [f"blocks.{index}.{n}" for n in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
        if granularity == "block":
            inputs = {t: block(e, index, tokens[t])[1] for t, e in experts.items()}
            for layer in layers:
                grams = [gram(inputs[t][layer]) for t in experts]
                weights = [e[f"{layer}.weight"].numpy() for e in experts.values()]
                merged[f"{layer}.weight"] = solve(grams, weights, alpha)
        else:
            for layer in layers:
                grams = [gram(block(merged, index, tokens[t])[1][layer]) for t in experts]
                weights = [e[f"{layer}.weight"].numpy() for e in experts.values()]
                merged[f"{layer}.weight"] = solve(grams, weights, alpha)
        tokens = {t: block(prefixes[t], index, x)[0] for t, x in tokens.items()}
    if final_norm == "base":
        merged |= {n: base[n] for n in ("norm.weight", "norm.bias")}
    return merged


@pytest.mark.parametrize("pre_norm", [True, False])
def test_the_forward_pass_of_these_tests_is_the_models(mini, pre_norm):
    encoder = mini.encoder(depth=3, dtype=torch.float64, pre_norm=pre_norm)
    images, state = mini.images(0, 4, torch.float64), encoder.state_dict()
    tokens = embed(state, images)
    for index in range(3):
        tokens, _ = block(state, index, tokens)
    with torch.no_grad():
        torch.testing.assert_close(norm(state, "norm", tokens)[:, 0], encoder(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("alpha", "final_norm", "granularity", "pre_norm"),
    [
        (0.95, "base", "block", True),
        (0.95, "average", "block", False),
        (1.0, "base", "block", True),
        (0.3, "average", "block", True),
        (0.0, "base", "block", True),
        (0.95, "base", "linear", True),
        (0.5, "average", "linear", False),
    ],
)
def test_equals_a_block_walk_written_from_the_paper(mini, alpha, final_norm, granularity, pre_norm):
    base = mini.encoder(depth=3, dtype=torch.float64, pre_norm=pre_norm)
    experts, calibration = mini.experts(base), mini.calibration(dtype=torch.float64)
    settings = {"alpha": alpha, "final_norm": final_norm, "granularity": granularity}
    merged = mergebench.merge("regmean++", base, experts, calibration=calibration, **settings)
    expected = walk(base.state_dict(), experts, calibration, depth=3, **settings)
    for name in expected:
        np.testing.assert_allclose(merged[name].numpy(), expected[name].numpy(), rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("granularity", ["block", "linear"])
@pytest.mark.parametrize("alpha", [0.3, 0.95])
def test_regmean_is_the_same_walk_behind_each_experts_own_blocks(mini, granularity, alpha):
    base = mini.encoder(depth=3, dtype=torch.float64)
    experts, calibration = mini.experts(base), mini.calibration(dtype=torch.float64)
    settings = {"alpha": alpha, "granularity": granularity}
    merged = mergebench.merge("regmean", base, experts, calibration=calibration, **settings)
    state = base.state_dict()
    expected = walk(state, experts, calibration, depth=3, final_norm="average", source="expert", **settings)
    for name in expected:
        np.testing.assert_allclose(merged[name].numpy(), expected[name].numpy(), rtol=1e-6, atol=1e-6, err_msg=name)


def test_the_two_granularities_differ_from_the_second_layer_on(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    for expert in experts.values():  # equal norms: both feed the first layer alike
        expert.update({n: base.state_dict()[n] for n in expert if ".norm" in n})
    calibration = mini.calibration(dtype=torch.float64)
    by_block = mergebench.merge("regmean++", base, experts, calibration=calibration)
    by_linear = mergebench.merge("regmean++", base, experts, calibration=calibration, granularity="linear")
    first, *others = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    torch.testing.assert_close(by_block[f"blocks.0.{first}.weight"], by_linear[f"blocks.0.{first}.weight"])
    assert all(not torch.equal(by_block[f"blocks.0.{n}.weight"], by_linear[f"blocks.0.{n}.weight"]) for n in others)


def test_the_final_norm_is_the_bases_unless_averaged(mini):
    base = mini.encoder()
    experts, calibration = mini.experts(base), mini.calibration()
    kept = mergebench.merge("regmean++", base, experts, calibration=calibration)
    averaged = mergebench.merge("regmean++", base, experts, calibration=calibration, final_norm="average")
    for name in kept:
        if name in ("norm.weight", "norm.bias"):
            assert torch.equal(kept[name], base.state_dict()[name])
            mean = sum(e[name].double() for e in experts.values()) / len(experts)
            torch.testing.assert_close(averaged[name], mean.float(), rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(kept[name], averaged[name]), name


def test_one_block_behind_equal_embeddings_is_regmean(mini):
    base = mini.encoder(depth=1, dtype=torch.float64)
    experts = mini.experts(base)
    for expert in experts.values():
        expert.update({n: t for n, t in base.state_dict().items() if not n.startswith(("blocks.", "norm."))})
    calibration = mini.calibration(dtype=torch.float64)
    plain = mergebench.merge("regmean", base, experts, calibration=calibration)
    walked = mergebench.merge("regmean++", base, experts, calibration=calibration, final_norm="average")
    for name in plain:
        torch.testing.assert_close(walked[name], plain[name], rtol=1e-9, atol=1e-11)


def test_the_first_block_is_regmeans_and_the_second_is_not(mini):
    base = mini.encoder(depth=2, dtype=torch.float64)
    experts = mini.experts(base)
    for expert in experts.values():
        expert.update({n: t for n, t in base.state_dict().items() if not n.startswith(("blocks.", "norm."))})
    calibration = mini.calibration(dtype=torch.float64)
    plain = mergebench.merge("regmean", base, experts, calibration=calibration)
    walked = mergebench.merge("regmean++", base, experts, calibration=calibration)
    for name in ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"):
        first, second = f"blocks.0.{name}", f"blocks.1.{name}"
        torch.testing.assert_close(walked[first], plain[first], rtol=1e-9, atol=1e-11)
        assert not torch.allclose(walked[second], plain[second], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("granularity", ["block", "linear"])
@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_one_expert_give_that_expert(mini, copies, granularity):
    base = mini.encoder()
    expert = mini.expert(base, 5)
    tasks = mini.tasks[:copies]
    calibration = {t: b for t, b in mini.calibration().items() if t in tasks}
    experts = {t: expert for t in tasks}
    merged = mergebench.merge(
        "regmean++", base, experts, calibration=calibration, final_norm="average", granularity=granularity
    )
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-6)


def test_with_the_final_norm_averaged_the_base_is_never_read(mini):
    base, other = mini.encoder(0), mini.encoder(9)
    experts, calibration = mini.experts(base), mini.calibration()
    first = mergebench.merge("regmean++", base, experts, calibration=calibration, final_norm="average")
    second = mergebench.merge("regmean++", other, experts, calibration=calibration, final_norm="average")
    assert all(torch.equal(first[n], second[n]) for n in first)
