"""SVC: a case worked by hand, direction by direction in NumPy, and what it must leave alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.svc import calibrated_spectrum, calibrated_whole

# Two tasks and their sum:
#
#   tau_1 = diag(2, 0)    tau_2 = diag(2, 1)    tau_1 + tau_2 = diag(4, 1): u_1 = e_1, u_2 = e_2
#
#   direction 1: responses (2, 0) and (2, 0), merged (4, 0): s = 8/4 = 2 and 2: counted twice.   gamma = 1/2
#   direction 2: responses (0, 0) and (0, 1), merged (0, 1): s = none and 1.     gamma = 2 / (max(alpha, 0) + 1)
#   the whole:   s = 8/4 = 2 and 9/5 = 1.8.                gamma = (2 + 1.8) / (4 + 3.24)
TASKS = torch.tensor([[[2.0, 0], [0, 0]], [[2, 0], [0, 1]]], dtype=torch.float64)


def turned(matrix, seed=0):
    """The same in other coordinates, where zeros are zero to rounding only."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64, generator=generator)).Q for _ in range(2))
    return left.to(matrix.dtype) @ matrix @ right.to(matrix.dtype)


@pytest.mark.parametrize(("alpha", "second"), [(1.0, 1.0), (0.5, 4 / 3), (0.25, 1.6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_case_worked_by_hand(alpha, second, dtype):
    tasks, expected = TASKS.to(dtype), torch.diag(torch.tensor([2.0, second], dtype=dtype))
    torch.testing.assert_close(calibrated_spectrum(tasks.sum(0), tasks, alpha), expected)
    for seed in range(5):
        made = calibrated_spectrum(turned(tasks.sum(0), seed), turned(tasks, seed), alpha)
        torch.testing.assert_close(made, turned(expected, seed), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_the_whole_matrix_by_hand(alpha):
    made = calibrated_whole(TASKS.sum(0), TASKS, alpha)
    torch.testing.assert_close(made, TASKS.sum(0) * 3.8 / 7.24)


def by_direction(merged, vectors, alpha):
    left, values, right = np.linalg.svd(merged, full_matrices=False)
    made = np.zeros_like(merged)
    for u, sigma, v in zip(left.T, values, right, strict=True):
        counted = []
        for vector in vectors:
            response = u @ vector
            counted.append(max(alpha, (u @ merged) @ response / (response @ response)))
        made += sigma * len(counted) / sum(counted) * np.outer(u, v)
    return made


def by_least_squares(merged, vectors, alpha):
    counted = [max(alpha, (merged * v).sum() / (v**2).sum()) for v in vectors]
    factor = np.linalg.lstsq(np.array(counted)[:, None], np.ones(len(counted)), rcond=None)[0]
    return merged * factor


REFERENCES = {"singular": (by_direction, calibrated_spectrum), "layer": (by_least_squares, calibrated_whole)}


@pytest.mark.parametrize("mode", REFERENCES)
@given(
    seed=st.integers(0, 2**31),
    tasks=st.integers(1, 5),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    alpha=st.floats(0.05, 2),
)
def test_any_matrices_against_numpy(mode, seed, tasks, rows, columns, alpha):
    generator = torch.Generator().manual_seed(seed)
    merged, *vectors = torch.randn(1 + tasks, rows, columns, dtype=torch.float64, generator=generator)
    reference, function = REFERENCES[mode]
    made = function(merged, torch.stack(vectors), alpha)
    expected = reference(merged.numpy(), [v.numpy() for v in vectors], alpha)
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-7, atol=1e-9)
    # Units do not matter.
    scaled = function(1e-4 * merged, 1e-4 * torch.stack(vectors), alpha)
    torch.testing.assert_close(scaled, 1e-4 * made)


@pytest.mark.parametrize("function", [calibrated_spectrum, calibrated_whole])
def test_copies_are_counted_once(function):
    (vector,) = torch.randn(1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for copies in (1, 2, 5):
        tasks = torch.stack([vector] * copies)
        torch.testing.assert_close(function(tasks.sum(0), tasks, 1 / copies), vector)


@pytest.mark.parametrize("function", [calibrated_spectrum, calibrated_whole])
def test_tasks_without_a_common_direction_are_left_as_their_sum(function):
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    tasks = torch.stack([basis[:, i : i + 2] @ torch.diag(torch.tensor([2.0, 1 + i]).double()) @ basis[i : i + 2]
                         for i in (0, 2, 4)])  # fmt: skip
    torch.testing.assert_close(function(tasks.sum(0), tasks, 1.0), tasks.sum(0))


@pytest.mark.parametrize("function", [calibrated_spectrum, calibrated_whole])
def test_nothing_stays_nothing(function):
    assert torch.equal(function(torch.zeros(3, 4), torch.zeros(2, 3, 4), 0.5), torch.zeros(3, 4))
    assert torch.isfinite(function(torch.ones(3, 4), torch.zeros(2, 3, 4), 0.5)).all()


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base, base.state_dict(), mini.experts(base), mini.calibration(dtype=torch.float64)


def linear(name, value):
    return name.startswith("blocks.") and value.ndim == 2


@pytest.mark.parametrize("mode", REFERENCES)
@pytest.mark.parametrize("alpha", [None, 1.0])
@pytest.mark.parametrize(
    ("start", "settings"),
    [
        ("task_arithmetic", None),
        ("task_arithmetic", {"scaling": 0.8}),
        ("ties", {"density": 0.5}),
        ("regmean", {"alpha": 0.5}),
        ("tsv_m", None),
    ],
)
def test_linear_layers_of_any_start_are_calibrated_and_the_rest_is_the_starts(mini, case, mode, alpha, start, settings):
    base, state, experts, calibration = case
    begun = mergebench.merge(start, base, experts, calibration=calibration, **(settings or {}))
    made, pool = mini.run(
        "svc", base, experts, calibration=calibration, start=start, start_settings=settings, alpha=alpha, mode=mode
    )
    reference, before, after = REFERENCES[mode][0], 0.0, 0.0
    for name, value in state.items():
        if not linear(name, value):
            assert torch.equal(made[name], begun[name]), name
            continue
        thirds = 3 if name.endswith("qkv.weight") else 1
        delta = (begun[name] - value).numpy()
        vectors = [np.split((e[name] - value).numpy(), thirds) for e in experts.values()]
        expected = np.concatenate(
            [reference(d, [v[i] for v in vectors], alpha or 1 / 3) for i, d in enumerate(np.split(delta, thirds))]
        )
        np.testing.assert_allclose((made[name] - value).numpy(), expected, rtol=1e-6, atol=1e-8, err_msg=name)
        before, after = before + (delta**2).sum(), after + (expected**2).sum()
    assert pool.diagnostics["norm_before"] == pytest.approx(math.sqrt(before))
    assert pool.diagnostics["norm_after"] == pytest.approx(math.sqrt(after))


@pytest.mark.parametrize("mode", REFERENCES)
def test_a_merged_vector_without_over_accumulation_is_left_alone(case, mode):
    base, _, experts, _ = case
    average = mergebench.merge("average", base, experts)
    made = mergebench.merge("svc", base, experts, start="average", alpha=1, mode=mode)
    for name, value in average.items():
        torch.testing.assert_close(made[name], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", REFERENCES)
@pytest.mark.parametrize(("scaling", "left"), [(2.0, 1.0), (1.0, 1.0), (0.3, 0.3)])
def test_one_expert_that_was_counted_more_than_once_comes_back_and_never_grows(case, mode, scaling, left):
    base, state, experts, _ = case
    settings = {"scaling": scaling}
    made = mergebench.merge("svc", base, {"cars": experts["cars"]}, start_settings=settings, mode=mode)
    for name, value in state.items():
        factor = left if linear(name, value) else scaling
        expected = value + factor * (experts["cars"][name] - value)
        torch.testing.assert_close(made[name], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0}, {"mode": "input"}, {"start": "svc"}, {"start": "finetuned"}, {"start": "no_such"}]
)
def test_bad_values_are_refused(case, wrong):
    base, _, experts, _ = case
    with pytest.raises(MergebenchError, match=str(next(iter(wrong.values())))):
        mergebench.merge("svc", base, experts, **wrong)
