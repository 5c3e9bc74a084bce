"""Shipped choices of the tuned track: of every method, by one budget, over the ranges that the cards have now."""

import pytest

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_suite, read_zoo
from mergebench.running.chosen import KIND, read_settings, shipped

SHIPPED = registry.config_files(KIND)


def test_the_embedded_suite_has_a_tuned_track():
    assert shipped("tiny-8", "tiny") == SHIPPED["tiny-8-tiny"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_is_there_with_one_budget(name):
    file = read_settings(SHIPPED[name])
    assert name == f"{file.suite}-{file.zoo}"
    number = len(read_suite(file.suite).merged_of(read_zoo(file.zoo).tasks, file.zoo))
    cards = {m: c for m, c in registry.methods().items() if c.role == "method" and c.experts in (None, number)}
    assert set(file.methods) == {method for method, card in cards.items() if card.ranges}
    assert set(file.nothing_to_tune) == {method for method, card in cards.items() if not card.ranges}
    for method, chosen in file.methods.items():
        search = chosen.search
        assert search.split == "validation" and search.space.keys() == cards[method].ranges.keys()
        assert chosen.settings.keys() == search.space.keys() | search.fixed.keys()
        assert search.best >= search.default, "the default is the first trial"
        # A space that can be counted out may end before.
        assert search.trials <= 30 and (search.trials == 30 or not any("low" in s for s in search.space.values()))
