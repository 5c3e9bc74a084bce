"""RegMean end to end: against numpy.linalg.lstsq and the published formula, on inputs collected by own hooks."""

import numpy as np
import pytest
import torch
from torch import nn

import mergebench


def linear_inputs(encoder, batches):
    """name -> input rows [n, d] (float64) of every linear layer inside the blocks."""
    rows = {}
    handles = []
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):

            def keep(_, inputs, output, name=name):
                rows.setdefault(name, []).append(inputs[0].detach().double().flatten(0, -2).numpy())

            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        for batch in batches:
            encoder(batch)
    for handle in handles:
        handle.remove()
    return {n: np.concatenate(r) for n, r in rows.items()}


def stacked_least_squares(inputs, weights):
    """argmin_W sum_i |X_i W^T - X_i W_i^T|^2 / n_i: expert i's rows weigh 1 / sqrt(n_i)."""
    left = np.concatenate([x / np.sqrt(len(x)) for x in inputs])
    right = np.concatenate([x @ w.T / np.sqrt(len(x)) for x, w in zip(inputs, weights, strict=True)])
    solution, _, rank, _ = np.linalg.lstsq(left, right, rcond=None)
    assert rank == left.shape[1]
    return solution.T


def formula(inputs, weights, alpha):
    """W^T = (sum G_i)^-1 sum G_i W_i^T with off-diagonals of every G_i = X_i^T X_i / n_i times alpha."""
    width = inputs[0].shape[1]
    left, right = np.zeros((width, width)), 0
    for x, w in zip(inputs, weights, strict=True):
        gram = x.T @ x / len(x)
        gram = gram * np.where(np.eye(width) == 1, 1, alpha)
        left += gram
        right = right + gram @ w.T
    return np.linalg.solve(left, right).T


@pytest.fixture(scope="module")
def case(mini):
    """A float64 model, three experts, batches that differ in number and size, and every expert's own layer inputs."""
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    calibration = mini.calibration(dtype=torch.float64)
    inputs = {t: linear_inputs(mini.load(base, experts[t]), calibration[t]) for t in experts}
    return base, experts, calibration, inputs


def linears(inputs):
    return list(next(iter(inputs.values())))


def test_alpha_one_is_least_squares_on_the_stacked_problem(case):
    base, experts, calibration, inputs = case
    merged = mergebench.merge("regmean", base, experts, calibration=calibration, alpha=1)
    assert len(linears(inputs)) == 8
    for name in linears(inputs):
        weights = [experts[t][f"{name}.weight"].numpy() for t in experts]
        expected = stacked_least_squares([inputs[t][name] for t in experts], weights)
        np.testing.assert_allclose(merged[f"{name}.weight"].numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_weights_follow_the_formula_with_shrunk_off_diagonals(case, alpha):
    base, experts, calibration, inputs = case
    merged = mergebench.merge("regmean", base, experts, calibration=calibration, alpha=alpha)
    for name in linears(inputs):
        weights = [experts[t][f"{name}.weight"].numpy() for t in experts]
        expected = formula([inputs[t][name] for t in experts], weights, alpha)
        np.testing.assert_allclose(merged[f"{name}.weight"].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_alpha_zero_is_a_mean_of_columns_weighted_by_their_inputs_power(case):
    base, experts, calibration, inputs = case
    merged = mergebench.merge("regmean", base, experts, calibration=calibration, alpha=0)
    for name in linears(inputs):
        power = np.stack([(inputs[t][name] ** 2).mean(0) for t in experts])[:, None, :]
        weights = np.stack([experts[t][f"{name}.weight"].numpy() for t in experts])
        expected = (power * weights).sum(0) / power.sum(0)
        np.testing.assert_allclose(merged[f"{name}.weight"].numpy(), expected, rtol=1e-8, atol=1e-10)


def test_all_other_parameters_are_averaged(case):
    base, experts, calibration, inputs = case
    merged = mergebench.merge("regmean", base, experts, calibration=calibration)
    solved = {f"{n}.weight" for n in linears(inputs)}
    others = [n for n in merged if n not in solved]
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight", "norm.weight", "blocks.0.attn.qkv.bias"} < set(others)
    for name in others:
        expected = np.mean([e[name].numpy() for e in experts.values()], axis=0)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-12, atol=1e-14)


def test_it_depends_on_the_images(case, mini):
    base, experts, calibration, inputs = case
    merged = mergebench.merge("regmean", base, experts, calibration=calibration)
    moved = dict(calibration, cars=[mini.images(77, 7, torch.float64)])
    other = mergebench.merge("regmean", base, experts, calibration=moved)
    assert all(not torch.equal(merged[f"{n}.weight"], other[f"{n}.weight"]) for n in linears(inputs))


def test_how_images_are_batched_does_not_matter(case):
    base, experts, calibration, _ = case
    whole = mergebench.merge("regmean", base, experts, calibration=calibration)
    split = {t: list(torch.cat(b).split(3)) for t, b in calibration.items()}
    again = mergebench.merge("regmean", base, experts, calibration=split)
    for name in whole:
        torch.testing.assert_close(again[name], whole[name], rtol=1e-8, atol=1e-10)


def test_repeating_a_tasks_images_changes_nothing_for_grams_are_per_row(case):
    base, experts, calibration, _ = case
    once = mergebench.merge("regmean", base, experts, calibration=calibration)
    more = mergebench.merge("regmean", base, experts, calibration=dict(calibration, cars=calibration["cars"] * 3))
    for name in once:
        torch.testing.assert_close(more[name], once[name], rtol=1e-8, atol=1e-10)


def test_single_precision_models_are_solved_to_single_precision(mini):
    base = mini.encoder()
    experts, calibration = mini.experts(base), mini.calibration()
    merged = mergebench.merge("regmean", base, experts, calibration=calibration)
    inputs = {t: linear_inputs(mini.load(base, experts[t]), calibration[t]) for t in experts}
    for name in linears(inputs):
        weights = [experts[t][f"{name}.weight"].double().numpy() for t in experts]
        expected = formula([inputs[t][name] for t in experts], weights, 0.95)
        np.testing.assert_allclose(merged[f"{name}.weight"].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_where_no_input_reaches_the_weights_stay_at_the_average(mini):
    # An untrained norm without shift makes tokens that sum to zero: along (1, ..., 1) the inputs of the layers behind
    # it say nothing, and the smallest deviation from the average that solves the problem has no part there.
    base = mini.encoder(dtype=torch.float64)
    plain = {n: t.clone() for n, t in base.state_dict().items()}
    for name in plain:
        if ".norm" in name:
            plain[name].fill_(1.0 if name.endswith("weight") else 0.0)
    base.load_state_dict(plain)
    experts = {
        task: {n: plain[n].clone() if ".norm" in n else t for n, t in expert.items()}
        for task, expert in mini.experts(base).items()
    }
    calibration = mini.calibration(dtype=torch.float64)
    merged = mergebench.merge("regmean", base, experts, calibration=calibration, alpha=1)
    average = mergebench.merge("average", base, experts)
    inputs = {t: linear_inputs(mini.load(base, experts[t]), calibration[t]) for t in experts}
    for name in ("blocks.0.attn.qkv", "blocks.0.mlp.fc1", "blocks.1.attn.qkv", "blocks.1.mlp.fc1"):
        mean = average[f"{name}.weight"].numpy()
        rows = [inputs[t][name] / np.sqrt(len(inputs[t][name])) for t in experts]
        right = [x @ (experts[t][f"{name}.weight"].numpy() - mean).T for x, t in zip(rows, experts, strict=True)]
        deviation, _, rank, _ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=1e-9)
        assert rank == 31
        np.testing.assert_allclose(merged[f"{name}.weight"].numpy(), mean + deviation.T, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.95, 1.0])
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_of_one_expert_give_that_expert(mini, copies, alpha):
    base = mini.encoder()
    expert = mini.expert(base, 5)
    tasks = mini.tasks[:copies]
    calibration = {t: b for t, b in mini.calibration().items() if t in tasks}
    merged = mergebench.merge("regmean", base, {t: expert for t in tasks}, calibration=calibration, alpha=alpha)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-6)


def test_layers_that_see_nothing_but_zeros_are_averaged(mini):
    # With every parameter in front of the blocks at zero and norms without shift, no row reaches any linear layer.
    base = mini.encoder(depth=1, dtype=torch.float64)
    experts = mini.experts(base)
    for state in experts.values():
        for name, value in state.items():
            if not name.endswith("weight") or not name.startswith("blocks."):
                value.zero_()
    merged = mergebench.merge("regmean", base, experts, calibration=mini.calibration(dtype=torch.float64))
    average = mergebench.merge("average", base, experts)
    assert all(torch.equal(merged[n], average[n]) for n in merged)


def test_every_layers_condition_number_is_reported(mini, case):
    base, experts, calibration, inputs = case
    _, pool = mini.run("regmean", base, experts, calibration=calibration, alpha=0.95)
    conditions = pool.diagnostics["condition"]
    assert set(conditions) == set(linears(inputs))
    for name, condition in conditions.items():
        total = 0
        for task in experts:
            x = inputs[task][name]
            gram = x.T @ x / len(x)
            total = total + np.where(np.eye(len(gram)) == 1, gram, 0.95 * gram)
        exact = np.linalg.cond(total, p=1)
        assert exact / 10 <= condition <= exact * (1 + 1e-6)
