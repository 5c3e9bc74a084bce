"""Choices that are kept while searches go on: each a method's that is registered, with one budget for all."""

from pathlib import Path

import pytest

from mergebench.catalogue import registry
from mergebench.running.chosen import read_settings

SEARCHES = Path(__file__).parents[2] / "leaderboard" / "searches"


@pytest.mark.parametrize("path", SEARCHES.glob("*.yaml"), ids=lambda path: path.stem)
def test_choices_are_of_registered_methods_and_of_one_budget(path):
    settings = read_settings(path)
    assert path.stem == f"{settings.suite}-{settings.zoo}" and settings.methods
    for name, chosen in settings.methods.items():
        card, search = registry.method(name), chosen.search
        # A space that can be counted out may end before.
        assert search.space.keys() == card.ranges.keys() and search.trials <= 30
        assert chosen.settings.keys() == search.space.keys() | search.fixed.keys()
