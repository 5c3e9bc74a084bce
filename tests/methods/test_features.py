"""The calibration of one layer: against numpy.linalg.lstsq on problems with the anchor as further rows."""

import numpy as np
import pytest
import torch

from mergebench.methods.features import LinearCalibration, NormCalibration, channel_sums, pair_sums

TASKS = 3


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def problem(rank=None):
    """Per task: inputs of student and expert [2, 10, 6], weights of 10 tokens, weight [4, 6] and bias [4]."""
    tasks = []
    for i in range(TASKS):
        mixing = normal(i, 6, rank or 6) @ normal(9 + i, rank or 6, 6) if rank is None else normal(0, rank, 6)
        student = (i + 1) * normal(20 + i, 2, 10, len(mixing)) @ mixing + (0.5 if rank is None else 0)
        tasks.append((student, normal(30 + i, 2, 10, 6), normal(40 + i, 10).abs(), normal(50 + i, 4, 6), normal(60, 4)))
    return tasks, normal(70, 4, 6), normal(71, 4)


def calibrate(tasks, weight, bias, *, ridge, teacher):
    solver = LinearCalibration(weight, bias, ridge=ridge, teacher=teacher)
    for student, expert, weights, own, shift in tasks:
        solver.add(pair_sums(student, expert, weights), own, None if bias is None else shift)
    return solver.solve()


def rows_and_shares(tasks, teacher):
    """Per task: rows of the student and of the target, their weights (which sum to one), and c_t."""
    for student, expert, weights, own, shift in tasks:
        w = np.tile(weights.numpy() / weights.sum().item() / 2, 2)
        s, e = (x.numpy().reshape(-1, 6) for x in (student, expert))
        second = sum(w[k] * np.outer(s[k], s[k]) for k in range(len(s)))
        yield s, teacher * e + (1 - teacher) * s, w, 1 / np.sqrt((second**2).sum()), own.numpy(), shift.numpy()


@pytest.mark.parametrize("teacher", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("ridge", [0.0, 0.05, 3.0])
def test_weight_is_least_squares_with_the_anchor_as_rows_and_bias_what_is_missing(ridge, teacher):
    tasks, weight, bias = problem()
    found, shift, _ = calibrate(tasks, weight, bias, ridge=ridge, teacher=teacher)
    left, right = [np.sqrt(ridge) * np.eye(6)], [np.sqrt(ridge) * weight.numpy().T]
    for s, x, w, share, own, _ in rows_and_shares(tasks, teacher):
        root = np.sqrt(share * w)[:, None]
        left.append(root * s)
        right.append(root * (x @ own.T))
    expected = np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0].T
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-9)
    above, below = ridge * bias.numpy(), ridge
    for s, x, w, share, own, own_shift in rows_and_shares(tasks, teacher):
        above = above + share * (w[:, None] * (own_shift + x @ own.T - s @ expected.T)).sum(0)
        below += share
    np.testing.assert_allclose(shift.numpy(), above / below, rtol=1e-7, atol=1e-9)


def test_a_layer_without_bias_has_none():
    tasks, weight, bias = problem()
    found, shift, _ = calibrate(tasks, weight, None, ridge=0.1, teacher=0.5)
    assert shift is None
    torch.testing.assert_close(found, calibrate(tasks, weight, bias, ridge=0.1, teacher=0.5)[0])


def test_directions_no_input_takes_stay_at_the_anchor_without_a_ridge():
    tasks, weight, bias = problem(rank=4)
    found, _, condition = calibrate(tasks, weight, bias, ridge=0.0, teacher=0.5)
    seen = tasks[0][0].reshape(-1, 6)
    unseen = torch.eye(6, dtype=torch.float64) - torch.linalg.pinv(seen, rtol=1e-9) @ seen
    assert unseen.norm() > 1
    torch.testing.assert_close(found @ unseen, weight @ unseen, rtol=1e-6, atol=1e-6)
    assert condition > 1e12


@pytest.mark.parametrize("ridge", [0.0, 0.05, 3.0])
def test_a_norm_is_least_squares_in_two_unknowns_a_channel(ridge):
    tasks, scale, shift = [(normal(i, 2, 10, 5) + i, normal(9 + i, 10).abs()) for i in range(TASKS)], *normal(5, 2, 5)
    own = normal(6, TASKS, 2, 5)
    solver = NormCalibration(scale, shift, ridge=ridge)
    for (z, weights), parameters in zip(tasks, own, strict=True):
        solver.add(channel_sums(z, weights), *parameters)
    found = torch.stack(solver.solve()[:2]).numpy()
    for channel in range(5):
        left = [np.sqrt(ridge) * np.eye(2)]
        right = [np.sqrt(ridge) * np.array([scale[channel], shift[channel]])]
        for (z, weights), parameters in zip(tasks, own.numpy(), strict=True):
            root = np.sqrt(np.tile(weights.numpy() / weights.sum().item() / 2, 2))
            rows = np.stack([z[..., channel].flatten().numpy(), np.ones(20)], axis=1)
            left.append(root[:, None] * rows)
            right.append(root * (rows @ parameters[:, channel]))
        expected = np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0]
        np.testing.assert_allclose(found[:, channel], expected, rtol=1e-8, atol=1e-9)


def test_a_channel_that_never_varies_keeps_its_output_and_no_more():
    # z = 2 always: only 2 g + h is determined, and of all such pairs the nearest to the anchor is taken.
    z, anchor, own = torch.full((1, 8, 1), 2.0), torch.tensor([[1.0], [0.0]]), torch.tensor([[3.0], [4.0]])
    solver = NormCalibration(*anchor, ridge=0.0)
    solver.add(channel_sums(z, torch.ones(8)), *own)
    scale, shift, condition = solver.solve()
    assert 2 * scale.item() + shift.item() == pytest.approx(2 * 3 + 4)
    assert (scale.item() - 1, shift.item() - 0) == pytest.approx((2 * 8 / 5, 8 / 5))
    assert condition > 1e12


def test_sums_are_of_weighted_rows_over_all_leading_dimensions():
    z, y, weights = normal(0, 2, 3, 10, 4), normal(1, 2, 3, 10, 4), normal(2, 10).abs()
    total, first, second, within, across = pair_sums(z, y, weights)
    assert total.item() == pytest.approx(6 * weights.sum().item())
    torch.testing.assert_close(first, torch.einsum("n,abnd->d", weights, z))
    torch.testing.assert_close(second, torch.einsum("n,abnd->d", weights, y))
    torch.testing.assert_close(within, torch.einsum("n,abnd,abne->de", weights, z, z))
    torch.testing.assert_close(across, torch.einsum("n,abnd,abne->de", weights, z, y))
    for found, expected in zip(channel_sums(z, weights), (total, first, within.diagonal()), strict=True):
        torch.testing.assert_close(found, expected)
