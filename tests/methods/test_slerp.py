"""SLERP: arcs of known angle, against NumPy, its ends and its straight lines, and what holds for every method."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.methods.slerp import PARALLEL, spherical, spherical_rows

TWO = ("birds", "cars")


def pair(mini, base, scale=0.05):
    return {t: mini.expert(base, i, scale=scale) for i, t in enumerate(TWO)}


def on_arc(first, second, weight):
    """By rotation in the plane of the two: no sine of a difference, no division by the sine of the angle."""
    a, b = first.ravel(), second.ravel()
    long, wide = np.linalg.norm(a), np.linalg.norm(b)
    cosine = a @ b / (long * wide)
    if abs(cosine) > 0.9995:
        return (1 - weight) * first + weight * second
    upright = b / wide - cosine * a / long
    upright /= np.linalg.norm(upright)
    angle = np.arctan2(b @ upright, b @ a / long)
    # Of ends as long as one the arc is a rotation by part of the angle; each end counts with its own length.
    turned = np.cos(weight * angle) * a / long + np.sin(weight * angle) * upright
    second_part = (turned @ upright) / np.sin(angle)
    first_part = turned @ a / long - second_part * np.cos(angle)
    return first_part * first + second_part * second


@pytest.mark.parametrize("between", ["weights", "task_vectors"])
@pytest.mark.parametrize("weight", [0.5, 0.2])
def test_equals_a_numpy_implementation(mini, weight, between):
    base = mini.encoder(dtype=torch.float64)
    experts = pair(mini, base, scale=0.3)
    merged = mergebench.merge("slerp", base, experts, weight=weight, between=between)
    curved = 0
    for name, value in base.state_dict().items():
        first, second = (experts[t][name].numpy() for t in TWO)
        start = value.numpy() if between == "task_vectors" else 0
        expected = start + on_arc(first - start, second - start, weight)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=name)
        curved += not np.allclose(expected, (1 - weight) * first + weight * second)
    assert curved > len(merged) / 2, "the arcs are no straight lines"


def test_halfway_between_directions_at_right_angles():
    first, second = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    torch.testing.assert_close(spherical(first, second, 0.5), torch.tensor([2.0, 4.0]) / 2**0.5)
    third = spherical(first, second, 1 / 3)  # 30 degrees
    torch.testing.assert_close(third, torch.tensor([2 * 3**0.5 / 2, 4 * 0.5]))


@given(st.floats(0, 1), st.floats(0.05, 3.0), st.floats(0.1, 10))
def test_between_ends_of_one_length_the_length_stays_and_the_angle_grows_evenly(weight, angle, length):
    first = length * torch.tensor([1.0, 0.0], dtype=torch.float64)
    second = length * torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float64)
    point = spherical(first, second, weight)
    expected = length * torch.tensor([np.cos(weight * angle), np.sin(weight * angle)], dtype=torch.float64)
    torch.testing.assert_close(point, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 2.0], [2.0, 4.0]),  # parallel
        ([1.0, 2.0], [-2.0, -4.0]),  # opposite
        ([1.0, 0.0], [1.0, 0.03]),  # nearly parallel: cosine 0.99955
        ([0.0, 0.0], [3.0, 4.0]),
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_a_straight_line_where_there_is_no_arc(first, second):
    first, second = torch.tensor(first), torch.tensor(second)
    torch.testing.assert_close(spherical(first, second, 0.25), 0.75 * first + 0.25 * second)


def test_the_arc_begins_just_past_the_bound():
    second = torch.tensor([1.0, 0.033])  # cosine 0.99946
    assert 1 / torch.linalg.vector_norm(second) < PARALLEL
    halfway = spherical(torch.tensor([1.0, 0.0]), second, 0.5)
    assert halfway.norm() > (torch.tensor([1.0, 0.0165])).norm() + 1e-5, "the line is inside the arc"


@pytest.mark.parametrize("between", ["weights", "task_vectors"])
def test_the_ends_are_the_experts_in_the_order_of_their_names(mini, between):
    base = mini.encoder(dtype=torch.float64)
    experts = pair(mini, base, scale=0.3)
    turned = dict(reversed(experts.items()))
    for weight, task in ((0, "birds"), (1, "cars")):
        for name, value in mergebench.merge("slerp", base, turned, weight=weight, between=between).items():
            torch.testing.assert_close(value, experts[task][name], rtol=1e-12, atol=1e-13)


def test_copies_of_one_expert_give_that_expert(mini):
    base = mini.encoder()
    expert = mini.expert(base, 7)
    for between in ("weights", "task_vectors"):
        merged = mergebench.merge("slerp", base, {"a": expert, "b": expert}, between=between)
        for name, value in expert.items():
            torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-7)


def test_the_base_counts_only_for_task_vectors(mini):
    base = mini.encoder()
    experts = pair(mini, base, scale=0.3)
    first, second = (mergebench.merge("slerp", b, experts) for b in (base, mini.encoder(99)))
    assert all(torch.equal(first[n], second[n]) for n in first)
    second = mergebench.merge("slerp", mini.encoder(99), experts, between="task_vectors")
    assert any(not torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_names_shapes_and_dtypes_are_kept_and_the_inputs_too(mini, dtype):
    base = mini.encoder(dtype=dtype)
    experts = pair(mini, base, scale=0.3)
    before = {t: {n: v.clone() for n, v in e.items()} for t, e in experts.items()}
    merged = mergebench.merge("slerp", base, experts)
    for name, value in base.state_dict().items():
        assert (merged[name].dtype, merged[name].shape) == (dtype, value.shape)
        assert all(torch.equal(experts[t][name], before[t][name]) for t in TWO)


@pytest.mark.parametrize("count", [1, 3])
def test_any_other_number_of_experts_is_refused(mini, count):
    base = mini.encoder()
    with pytest.raises(mergebench.errors.MergebenchError, match="two|2"):
        mergebench.merge("slerp", base, dict(list(mini.experts(base).items())[:count]))


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_past_an_end_is_refused(mini, weight):
    base = mini.encoder()
    with pytest.raises(mergebench.errors.HyperparameterError, match="weight"):
        mergebench.merge("slerp", base, pair(mini, base), weight=weight)


def rows_on_arcs(first, second, weight):
    """Row by row, with its length's share in each end."""
    found = []
    for a, b in zip(first, second, strict=True):
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        found.append((np.sin((1 - weight) * angle) * a + np.sin(weight * angle) * b) / np.sin(angle))
    return np.array(found)


@pytest.mark.parametrize("between", ["weights", "task_vectors"])
@pytest.mark.parametrize("along", ["tensors", "rows", "columns"])
def test_nuslerp_turns_tensors_rows_or_columns(mini, along, between):
    base = mini.encoder(dtype=torch.float64)
    experts = pair(mini, base, scale=0.3)
    merged = mergebench.merge("nuslerp", base, experts, weight=0.3, along=along, between=between)
    for name, value in base.state_dict().items():
        start = value.numpy() if between == "task_vectors" else np.zeros(value.shape)
        ends = [experts[t][name].numpy() - start for t in TWO]
        whole = along == "tensors" or value.squeeze().ndim < 2
        ends = [end.reshape(1 if whole else len(value.squeeze()), -1) for end in ends]
        if along == "columns" and not whole:
            found = rows_on_arcs(*(end.T for end in ends), 0.3).T
        else:
            found = rows_on_arcs(*ends, 0.3)
        expected = start + found.reshape(value.shape)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-8, atol=1e-10, err_msg=name)


def test_nuslerp_goes_straight_where_there_is_no_arc():
    first = torch.tensor([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([[2.0, 4.0], [-3.0, 0.0], [5.0, 1.0]], dtype=torch.float64)
    found = spherical_rows(first, second, 0.25)
    torch.testing.assert_close(found, 0.75 * first + 0.25 * second)
