"""Matrices of one shape in groups: no name is lost, none is too large, and each gets its own."""

import pytest

from mergebench.merging.layout import Layout
from mergebench.methods.alike import by_group, groups_alike


@pytest.mark.parametrize("entries", [0, 3000, 10_000, 10**9])
def test_groups_hold_every_name_once_and_matrices_of_one_shape(mini, entries):
    layout = Layout(mini.encoder(depth=3))
    names = [n for n in layout.floating if layout.is_matrix(n)]
    groups = groups_alike(layout, names, entries)
    assert sorted(n for group in groups for n in group) == sorted(names)
    for group in groups:
        sizes = [layout.matrix_shape(name) for name in group]
        assert len({tuple(shape) for _, *shape in sizes}) == 1
        assert len(group) == 1 or sum(p * m * n for p, m, n in sizes) <= entries
    if entries == 10**9:  # queries, keys and values are squares like the projection behind them
        assert any({"blocks.0.attn.qkv.weight", "blocks.2.attn.proj.weight"} <= set(group) for group in groups)


def test_a_group_is_computed_when_one_of_it_is_asked_for():
    asked = []

    def compute(group):
        asked.append(group)
        return [name.upper() for name in group]

    of = by_group([["a", "b"], ["c"]], compute)
    assert [of("b"), of("c"), of("a")] == ["B", "C", "A"]
    assert asked == [["a", "b"], ["c"]]
