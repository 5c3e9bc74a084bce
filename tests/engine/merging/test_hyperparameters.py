"""Hyper-parameters: taken by the declared type, refused with the name and the value."""

import math
from typing import Literal

import pytest
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from mergebench import Needs, merge_method
from mergebench.errors import HyperparameterError
from mergebench.merging.hyperparameters import parse_assignments, resolve


@merge_method("example", title="Example")
def example(
    pool,
    *,
    scaling: float = 0.3,
    steps: PositiveInt = 10,
    alpha: ClosedUnitInterval = 0.95,
    combine: Literal["sum", "mean"] = "sum",
    count: int = 1,
    flag: bool = False,
    rank: int | None = None,
    maybe: bool | None = None,
):
    """Every kind of hyper-parameter."""


DEFAULTS = {
    "scaling": 0.3,
    "steps": 10,
    "alpha": 0.95,
    "combine": "sum",
    "count": 1,
    "flag": False,
    "rank": None,
    "maybe": None,
}


TAKES = {
    "scaling": "a number",
    "steps": "a whole number from 1",
    "alpha": "a number from 0 to 1",
    "combine": "sum or mean",
    "count": "a whole number",
    "flag": "true or false",
    "rank": "a whole number or nothing",
    "maybe": "true or false or nothing",
}


def test_what_is_not_given_takes_its_default():
    assert resolve(example, {}) == DEFAULTS
    assert resolve(example, {"steps": 3}) == DEFAULTS | {"steps": 3}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("scaling", 0.5, 0.5),
        ("scaling", 1, 1.0),
        ("scaling", -2.5, -2.5),
        ("scaling", "1e-3", 0.001),
        ("scaling", "0.25", 0.25),
        ("steps", 7, 7),
        ("steps", "7", 7),
        ("alpha", 0, 0.0),
        ("alpha", 1, 1.0),
        ("alpha", "0.1", 0.1),
        ("combine", "mean", "mean"),
        ("count", -4, -4),
        ("flag", True, True),
        ("rank", None, None),
        ("rank", 4, 4),
        ("maybe", True, True),
        ("maybe", False, False),
    ],
)
def test_good_values_are_converted_to_the_declared_type(name, value, expected):
    found = resolve(example, {name: value})[name]
    assert found == expected
    if expected is not None:
        assert isinstance(found, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scaling", "large"),
        ("scaling", True),
        ("scaling", [0.1]),
        ("scaling", {}),
        ("scaling", None),
        ("steps", 0),
        ("steps", -1),
        ("steps", 1.5),
        ("steps", True),
        ("steps", None),
        ("alpha", 1.01),
        ("alpha", -0.01),
        ("alpha", math.nan),
        ("alpha", None),
        ("combine", "median"),
        ("combine", 1),
        ("combine", None),
        ("count", True),
        ("count", False),
        ("count", 0.5),
        ("flag", "perhaps"),
        ("flag", None),
        ("rank", True),
        ("maybe", 2),
    ],
)
def test_bad_values_are_refused_with_the_method_the_name_and_the_value(name, value):
    with pytest.raises(HyperparameterError) as caught:
        resolve(example, {name: value})
    assert "method 'example'" in str(caught.value)
    assert f"{name}={value!r} is not {TAKES[name]} (default {DEFAULTS[name]!r})" in str(caught.value)


def test_the_message_shows_the_choices():
    with pytest.raises(HyperparameterError, match=r"combine='max' is not sum or mean"):
        resolve(example, {"combine": "max"})


@pytest.mark.parametrize(("name", "meant"), [("scalin", "scaling"), ("Alpha", "alpha"), ("step", "steps")])
def test_an_unknown_name_shows_the_nearest(name, meant):
    with pytest.raises(HyperparameterError, match=rf"'example' has no hyper-parameter '{name}'; did you .*'{meant}'"):
        resolve(example, {name: 1})


def test_a_name_like_no_other_shows_all_there_are():
    with pytest.raises(HyperparameterError, match=r"has no hyper-parameter 'zzz'; there are: scaling, steps, alpha"):
        resolve(example, {"zzz": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("3", 3),
        ("1e-3", 0.001),
        ("1.5e2", 150.0),
        ("-2", -2),
        ("sum", "sum"),
        ("true", True),
        ("a=b", "a=b"),
        ("[broken", "[broken"),
    ],
)
def test_assignments_are_read_as_a_person_means_them(text, value):
    found = parse_assignments([f"ties.x={text}"])
    assert found == {"ties.x": value}
    assert type(found["ties.x"]) is type(value)


def test_several_assignments_are_kept_and_the_last_of_a_name_holds():
    assert parse_assignments(["a=1", "b=2", "a=3"]) == {"a": 3, "b": 2}


@pytest.mark.parametrize("item", ["scaling", "=0.5", ""])
def test_an_assignment_without_name_or_equals_is_refused(item):
    with pytest.raises(HyperparameterError, match=r"write NAME=VALUE"):
        parse_assignments([item])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), ".inf", 10**400, [1.0, float("nan")]])
def test_what_is_not_finite_is_refused_by_name(value):
    @merge_method("unbounded", title="Unbounded", needs=Needs())
    def unbounded(pool, *, weight: float | list[float] = 1.0, count: PositiveInt = 1):
        return {}

    for name in ("weight", "count"):
        with pytest.raises(
            HyperparameterError, match=f"^method 'unbounded': hyper-parameter {name}=.* is not "
        ) as told:
            resolve(unbounded, {name: value})
        assert "\n" not in str(told.value)
