"""Every built-in method's card is filled in, and what it says can be held against its code."""

import re
from pathlib import Path

import pytest

from mergebench.catalogue import discovery, registry
from mergebench.cli.method_card import method_card
from mergebench.merging import hyperparameters

CARDS = registry.methods()
METHODS = [name for name, card in CARDS.items() if card.role == "method"]


@pytest.mark.parametrize("name", METHODS)
def test_the_card_tells_where_the_method_is_from_and_what_it_costs(name):
    card = CARDS[name]
    assert card.fidelity and card.cost and "pass" in card.cost
    if card.paper:
        assert re.fullmatch(r"arXiv:\d{4}\.\d{5}|[^:]{8,}", card.paper)
        assert 1980 < card.year < 2100
    number = re.fullmatch(r"arXiv:(\d\d)\d\d\.\d{5}", card.paper)
    assert number is None or 0 <= card.year - 2000 - int(number[1]) <= 1, "published in that year or the next"


@pytest.mark.parametrize("name", CARDS)
def test_the_docstring_has_a_line_an_equation_and_every_hyper_parameter(name):
    card = CARDS[name]
    first, blank, *rest = card.doc.splitlines()
    assert first.endswith(".") and not blank
    assert any(re.match(r" *\S.* (=|~|argmin|min_\S+) ", line) for line in rest), "an equation"
    assert card.role != "method" or "\nSource: " in card.doc or "\nDerivation" in card.doc
    shown = "\n".join(method_card(card, name))
    for hyper in card.hyperparameters:
        assert re.search(rf"\n  {hyper} +\S.*\n      \S", shown), f"{hyper} is not described under Args"


@pytest.mark.parametrize("name", METHODS)
def test_the_ends_of_every_range_are_values_that_the_method_takes(name):
    card = CARDS[name]
    function = discovery.load_function(card)
    assert bool(card.ranges) >= bool({"scaling", "alpha", "density"} & set(card.hyperparameters)), "nothing to tune"
    for hyper, ends in card.ranges.items():
        assert isinstance(ends[0], str) or (len(ends) == 2 and ends[0] < ends[1])
        for value in ends:
            hyperparameters.resolve(function, {hyper: value})
        default = hyperparameters.resolve(function, {})[hyper]
        if not isinstance(default, str | None):
            assert ends[0] <= default <= ends[1], "the published setting is among what is searched"


def test_no_method_file_is_long():
    folder = Path(CARDS["average"].path).parent
    lengths = {f.name: len(f.read_text().splitlines()) for f in folder.glob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 200} == {}
