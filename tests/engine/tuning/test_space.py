"""What a search may try: how it is written, what a method's types take of it, and how its numbers are shortened."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from mergebench import merge_method
from mergebench.errors import HyperparameterError
from mergebench.tuning.space import Choices, Interval, make_space, parse_space


@merge_method("example", title="Example", ranges={"scaling": (0.1, 1.5), "combine": ("sum", "mean")})
def example(
    pool,
    *,
    scaling: float = 0.3,
    density: ClosedUnitInterval = 0.2,
    rank: PositiveInt = 8,
    combine: Literal["sum", "mean"] = "sum",
    centred: bool = False,
):
    """Every kind of hyper-parameter."""


@merge_method("bare", title="Bare")
def bare(pool):
    """Nothing to set."""


def test_the_space_is_what_the_card_says():
    assert make_space(example, {}, ()) == {"scaling": Interval(0.1, 1.5), "combine": Choices(("sum", "mean"))}


def test_what_is_given_replaces_and_adds_and_what_is_fixed_is_left_out():
    given = {"scaling": (0, 1), "rank": (2, 64), "centred": [True, False]}
    assert make_space(example, given, {"combine"}) == {
        "scaling": Interval(0.0, 1.0),
        "rank": Interval(2, 64),
        "centred": Choices((True, False)),
    }


def test_whole_numbers_are_searched_where_the_type_wants_them_and_nowhere_else():
    space = make_space(example, {"scaling": (1, 2), "rank": (1, 2)}, ())
    assert (space["scaling"].integer, space["rank"].integer) == (False, True)


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0.1, 1.5, True), (0.1, 1.0, True), (0.2, 1.0, False), (0.0, 9.0, False), (-1, 1, False)]
)
def test_the_scale_is_logarithmic_where_a_decade_is_spanned_above_zero(low, high, log):
    assert Interval(low, high).log is log


def test_intervals_and_choices_are_told_apart_as_they_are_written():
    items = ["scaling=0.1:1.5", "rank=4,8, 16", "combine=sum,mean", "low=1e-3:1", "flag=true,false"]
    assert parse_space(items) == {
        "scaling": (0.1, 1.5),
        "rank": [4, 8, 16],
        "combine": ["sum", "mean"],
        "low": (0.001, 1),
        "flag": [True, False],
    }


@pytest.mark.parametrize("item", ["scaling", "=1:2", "scaling=", "scaling=1:", "a=1:2:3", "a=x:y", "a=1,,2", "a=no:1"])
def test_what_is_written_otherwise_is_refused(item):
    with pytest.raises(HyperparameterError, match="write NAME=LOW:HIGH"):
        parse_space([item])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scalin": (0.1, 1)}, "no hyper-parameter 'scalin'; did you mean 'scaling'"),
        ({"density": (0.1, 1.5)}, "density=1.5 is not a number from 0 to 1"),
        ({"rank": (0, 4)}, "rank=0 is not a whole number from 1"),
        ({"rank": (0.5, 4)}, "rank=0.5 is not a whole number from 1"),
        ({"combine": (1, 2)}, "combine=1 is not sum or"),
        ({"combine": ["sum", "max"]}, "combine='max' is not sum or"),
        ({"scaling": (1.5, 0.1)}, "scaling: the low end 1.5 is above the high end 0.1"),
        ({"scaling": (0.5, 0.5)}, "scaling: 0.5, 0.5 is nothing to search; fix it, as --set scaling=VALUE"),
        ({"scaling": [0.5]}, "scaling: 0.5 is nothing to search"),
        ({"scaling": (0.1, float("inf"))}, "scaling=inf is not finite"),
        ({"scaling": (float("nan"), 1.0)}, "scaling=nan is not finite"),
    ],
)
def test_a_space_that_does_not_fit_the_method_is_refused(given, told):
    with pytest.raises(HyperparameterError) as caught:
        make_space(example, given, ())
    assert told in str(caught.value)


@merge_method("shares", title="Shares")
def shares(pool, *, weights: dict[str, float] | list[float] | tuple[float, ...] | None = None):
    """A hyper-parameter of several numbers."""


@pytest.mark.parametrize("values", [[[1.0, 2.0], [2.0, 1.0]], [{"a": 1.0}], [(1.0, 2.0), None]])
def test_what_holds_several_values_cannot_be_searched(values):
    with pytest.raises(HyperparameterError) as caught:
        make_space(shares, {"weights": values}, ())
    told = f"only texts and numbers can be searched, not {', '.join(map(str, values))}; fix it, as --set weights=VALUE"
    assert str(caught.value) == f"method 'shares': weights: {told}"


def test_what_is_set_cannot_be_searched_too():
    with pytest.raises(HyperparameterError, match="scaling is both set and searched"):
        make_space(example, {"scaling": (0, 1)}, {"scaling"})


def test_nothing_to_search_is_refused_with_the_remedy():
    with pytest.raises(HyperparameterError, match="NAME=LOW:HIGH, with NAME of density, rank, centred"):
        make_space(example, {}, {"scaling", "combine"})
    with pytest.raises(HyperparameterError, match="'bare' has no ranges to search: it has none left"):
        make_space(bare, {}, ())


@given(st.floats(-100, 100), st.floats(1e-6, 100), st.floats(0, 1))
def test_a_short_number_lies_within_and_near(low, width, share):
    interval = Interval(low, low + width)
    value = min(low + share * width, interval.high)
    short = interval.short(value)
    assert short in interval
    assert abs(short - value) <= 0.0005 * min(abs(value) or width, width) * 1.001 + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "value", "short"),
    [
        (0.1, 1.5, 0.731294, 0.7313),
        (0.1, 1.5, 1.23456, 1.235),
        (0.9999, 0.99999, 0.9999312, 0.99993120),
        (1e-5, 1.0, 3.14159e-4, 0.0003142),
        (0.0, 1.0, 0.0, 0.0),
        (0.1234567, 2.0, 0.1234568, 0.1235),
        (0.1234567, 2.0, 0.12341, 0.1234567),
    ],
)
def test_numbers_get_as_few_digits_as_do(low, high, value, short):
    assert Interval(low, high).short(value) == short


def test_whole_numbers_stay_what_they_are():
    assert Interval(1, 100_000).short(12_345) == 12_345
