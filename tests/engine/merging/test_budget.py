"""A budget of memory: what a card's words come to, and what is refused for want of how much."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergebench.catalogue import registry
from mergebench.errors import MergebenchError
from mergebench.merging.budget import Budget, Sizes
from mergebench.merging.layout import Layout
from mergebench.merging.method import MethodCard, Term, merge_method, terms

SIZES = Sizes(models=10**9, experts=5 * 10**8, tensors=10**7)


def card(holds):
    return MethodCard("example", "Example", holds=holds)


def test_words_of_cards():
    assert terms("") == []
    assert terms("2 T + 6 models, T + 1 tensors, 0.5 GB") == [
        Term(2, 6, "models"), Term(1, 1, "tensors"), Term(0, 0.5, "GB"),
    ]  # fmt: skip
    assert terms("T models, 1 tensor") == [Term(1, 0, "models"), Term(0, 1, "tensors")]


@pytest.mark.parametrize("holds", ["a few tensors", "T", "models", "T + models", "2T models", "3 apples", "1 model;"])
def test_other_words_are_refused_where_the_method_is_made(holds):
    with pytest.raises(MergebenchError, match="'example'.*is not as 2 T"):
        merge_method("example", title="Example", holds=holds)(lambda pool: {})


@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 30))
def test_an_estimate_is_what_is_there_and_the_result_twice_and_what_is_held(each, fixed, experts):
    budget = Budget(10**15)
    empty = budget.estimate([card("")], experts, SIZES)
    assert empty > SIZES.models + SIZES.experts + 10**7  # Python itself is larger than that
    found = budget.estimate([card(f"{each} T + {fixed} models, {fixed} tensors, 0.5 GB")], experts, SIZES)
    assert found - empty == (each * experts + fixed) * 10**9 + fixed * 10**7 + 5 * 10**8
    assert budget.left([card("")], experts, SIZES) == 10**15 - empty


def test_a_start_and_what_starts_from_it_take_turns():
    budget = Budget(10**15)
    both = budget.estimate([card("2 models"), card("T models")], 5, SIZES)
    assert both == budget.estimate([card("T models")], 5, SIZES)


def test_what_does_not_fit_is_told_with_the_estimate():
    budget = Budget(8 * 10**9)
    assert budget.lack([card("2 models")], 8, SIZES) == ""
    lack = budget.lack([card("T + 5 models")], 8, SIZES)
    assert float(re.match(r"example would take about ([\d.]+) GB", lack)[1]) > 13 + 1.5
    assert "8 experts (T + 5 models; a model is 1.00 GB" in lack
    assert lack.endswith("--memory allows 8.0 GB")
    assert budget.left([card("T + 5 models")], 8, SIZES) == 0


def test_experts_count_as_they_are_stored():
    budget = Budget(10**15)
    found = budget.estimate([card("T experts, 1.5 T + 5 models")], 4, SIZES)
    assert found - budget.estimate([card("")], 4, SIZES) == 4 * 5 * 10**8 + 11 * 10**9


def test_sizes_are_those_that_are_computed_in(mini):
    half = mini.encoder().half()
    numbers = [p.numel() for p in half.state_dict().values()]
    total, largest = sum(numbers), max(numbers)
    for base, stored, computed in ((mini.encoder(), 4, 4), (half, 2, 4), (mini.encoder(dtype=torch.float64), 8, 8)):
        found = Sizes.of(Layout(base), base.state_dict())
        assert found == Sizes(computed * total, stored * total, computed * largest)


def test_every_method_says_what_it_holds():
    silent = [c.name for c in registry.methods().values() if c.role == "method" and not c.holds]
    assert silent == []
