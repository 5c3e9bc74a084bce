"""Methods on networks of convolutions: kernels are matrices on patches, batch norms' statistics no weights."""

import copy

import numpy as np
import pytest
import timm
import torch
from timm.layers import StdConv2d
from timm.models.resnetv2 import ResNetV2
from torch import nn

import mergebench
from mergebench.catalogue import registry
from mergebench.conformance.candidate import Candidate
from mergebench.conformance.miniature import make_inputs
from mergebench.errors import MergebenchError, MethodError

KINDS = ("ConvNeXt", "ResNet")


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    """Base, experts and calibration batches in float64."""
    inputs = make_inputs(5, 3, torch.float64, request.param)
    return inputs.base, inputs.experts, {t: [x for x, _ in batches] for t, batches in inputs.calibration.items()}


def patches(layer, inputs):
    """What a layer's weight, flattened, multiplies: rows cut out one by one, float64."""
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2).numpy()
    (height, width), (down, right), (above, left) = layer.kernel_size, layer.stride, layer.padding
    padded = np.pad(inputs.numpy(), ((0, 0), (0, 0), (above, above), (left, left)))
    rows = []
    for image in padded:
        for top in range(0, image.shape[1] - height + 1, down):
            for side in range(0, image.shape[2] - width + 1, right):
                rows.append(image[:, top : top + height, side : side + width].ravel())
    return np.stack(rows)


def fed(module, names, run, batches):
    """name -> rows that layers inside a module are fed in passes over batches."""
    rows, layers = {}, {n: module.get_submodule(n) for n in names}
    handles = [
        layer.register_forward_hook(
            lambda m, inputs, _, n=n: rows.setdefault(n, []).append(patches(m, inputs[0].detach().clone()))
        )
        for n, layer in layers.items()
    ]
    with torch.no_grad():
        for batch in batches:
            run(batch)
    for handle in handles:
        handle.remove()
    return {n: np.concatenate(found) for n, found in rows.items()}


def arriving(model, block, batches):
    """What a block of a model is fed in passes over batches."""
    seen = []
    handle = model.get_submodule(block).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    handle.remove()
    return seen


def solved(inputs, weights, alpha):
    """A + (sum G_i)^+ sum G_i (W_i - A)^T, off-diagonals of G_i = X_i^T X_i / n_i times alpha, A the average.

    On a map of one pixel all but the middle of a kernel is fed nothing but padding.
    """
    left = right = 0
    average = np.mean(weights, axis=0)
    for rows, weight in zip(inputs, weights, strict=True):
        gram = rows.T @ rows / len(rows) * np.where(np.eye(rows.shape[1]) == 1, 1, alpha)
        left, right = left + gram, right + gram @ (weight - average).T
    return average + (np.linalg.pinv(left, rcond=1e-12, hermitian=True) @ right).T


def kernels(base):
    """Layers of the blocks that multiply all channels, by their names; neither the stem nor depth-wise ones."""
    return [
        name
        for name, module in base.named_modules()
        if name.startswith(("stages.", "layer"))
        and (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
    ]


@pytest.mark.parametrize("alpha", [0.5, 0.95])
def test_regmean_solves_kernels_on_the_patches_they_are_fed(case, mini, alpha):
    base, experts, calibration = case
    merged = mergebench.merge("regmean", base, experts, calibration=calibration, alpha=alpha)
    inputs = {}
    for task, expert in experts.items():
        encoder = mini.load(base, expert)
        inputs[task] = fed(encoder, kernels(base), encoder, calibration[task])
    assert len(kernels(base)) >= 11
    for name in kernels(base):
        weights = [experts[t][f"{name}.weight"].flatten(1).numpy() for t in experts]
        expected = solved([inputs[t][name] for t in experts], weights, alpha)
        np.testing.assert_allclose(merged[f"{name}.weight"].flatten(1).numpy(), expected, rtol=1e-5, atol=1e-6)
    others = [n for n, v in merged.items() if n.removesuffix(".weight") not in kernels(base) and v.is_floating_point()]
    for name in others:
        mean = np.mean([e[name].numpy() for e in experts.values()], axis=0)
        np.testing.assert_allclose(merged[name].numpy(), mean, rtol=1e-10, atol=1e-12)


def test_regmean_plus_plus_feeds_blocks_what_the_merged_ones_give(case, mini):
    base, experts, calibration = case
    merged = mergebench.merge("regmean++", base, experts, calibration=calibration, alpha=0.9, final_norm="average")
    model = mini.load(base, merged)
    for block in blocks(base):
        inner = [n.removeprefix(f"{block}.") for n in kernels(base) if n.startswith(f"{block}.")]
        inputs = {}
        for task, expert in experts.items():
            tokens = arriving(model, block, calibration[task])
            own = mini.load(base, expert).get_submodule(block)
            inputs[task] = fed(own, inner, own, tokens)
        for name in inner:
            weight = f"{block}.{name}.weight"
            weights = [experts[t][weight].flatten(1).numpy() for t in experts]
            expected = solved([inputs[t][name] for t in experts], weights, 0.9)
            np.testing.assert_allclose(merged[weight].flatten(1).numpy(), expected, rtol=1e-5, atol=1e-6)


def blocks(base):
    """Modules that run one after the other, in that order."""
    if hasattr(base, "layer1"):
        return [f"layer{i}.{j}" for i in range(1, 5) for j in range(len(getattr(base, f"layer{i}")))]
    return [
        name
        for i, stage in enumerate(base.stages)
        for name in [
            *([] if isinstance(stage.downsample, nn.Identity) else [f"stages.{i}.downsample"]),
            *(f"stages.{i}.blocks.{j}" for j in range(len(stage.blocks))),
        ]
    ]


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "regmean++", "opcm", "adamerging", "adarank", "wudi"])
def test_statistics_are_the_experts_average_whatever_the_method(method):
    inputs = make_inputs(6, 3, torch.float32, "ResNet")
    own = {"steps": 1} if method in ("adamerging", "adarank", "wudi") else {}
    merged = mergebench.merge(
        method,
        inputs.base,
        inputs.experts,
        calibration={t: [x for x, _ in batches] for t, batches in inputs.calibration.items()},
        test_inputs=inputs.test_inputs,
        heads=inputs.heads,
        **own,
    )
    for name in (n for n in merged if n.endswith(("running_mean", "running_var"))):
        mean = np.mean([e[name].double().numpy() for e in inputs.experts.values()], axis=0)
        np.testing.assert_allclose(merged[name].numpy(), mean, rtol=1e-5, atol=1e-7)
        assert name.endswith("mean") or (merged[name] > 0).all()


def test_adaptation_goes_by_the_statistics_that_the_result_has(mini):
    inputs = make_inputs(7, 3, torch.float32, "ResNet")
    result, pool = mini.run(
        "adamerging",
        inputs.base,
        inputs.experts,
        test_inputs=inputs.test_inputs,
        heads=inputs.heads,
        steps=1,
        lr=1e-9,
        batch_size=1,
    )
    model = mini.load(inputs.base, result)
    with torch.no_grad():
        logits = [inputs.heads[t](model(next(iter(inputs.test_inputs[t])))) for t in inputs.experts]
    expected = sum(-(x.softmax(-1) * x.log_softmax(-1)).sum(-1).mean() for x in logits)
    assert pool.diagnostics["entropy"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_method_that_goes_through_blocks_is_refused_where_none_are_known():
    base = timm.create_model("test_efficientnet", num_classes=0)
    experts = {t: copy.deepcopy(base.state_dict()) for t in ("a", "b")}
    images = {t: torch.randn(2, 3, 32, 32) for t in experts}
    with pytest.raises(MethodError, match="regmean\\+\\+ goes through the blocks, and of this encoder none are known"):
        mergebench.merge("regmean++", base, experts, calibration={t: [x] for t, x in images.items()})
    merged = mergebench.merge("regmean", base, experts, calibration={t: [x] for t, x in images.items()})
    for name, value in merged.items():
        torch.testing.assert_close(value, base.state_dict()[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", registry.methods())
def test_every_method_merges_them(name, kind):
    candidate = Candidate(registry.method(name))
    inputs = candidate.inputs(kind=kind)
    candidate.merge(inputs)  # what comes out is held to the base's names, shapes and dtypes, and is finite
    if candidate.card.idempotent and candidate.card.role == "method":
        state = next(iter(inputs.experts.values()))
        for key, value in candidate.merge(inputs.alike(state)).items():
            torch.testing.assert_close(value, state[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["regmean", "doge_ta"])
def test_an_encoder_without_matrices_is_refused(method):
    # Standardised kernels are not used as they are.
    base = ResNetV2((1, 1), channels=(128, 256), stem_chs=32, num_classes=0, conv_layer=StdConv2d)
    experts = {t: base.state_dict() for t in ("a", "b")}
    calibration = {t: [torch.randn(2, 3, 32, 32)] for t in experts}
    with pytest.raises(MergebenchError, match="this encoder"):
        mergebench.merge(method, base, experts, calibration=calibration)
