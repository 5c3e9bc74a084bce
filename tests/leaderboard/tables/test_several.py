"""Series as grids: each layout against means taken by hand."""

import pytest

from mergebench.errors import MergebenchError
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.tables.layouts import make_grids


def grid_of(results, wishes, layout=None, **given):
    (series,) = make_series(results)
    (grid,) = make_grids([], [series], wishes(**given), layout)
    return grid


def cells(grid, name):
    (row,) = [row for row in grid.rows if row.name == name]
    return [None if c.value is None else round(c.value, 6) for c in row.cells]


def spreads(grid, name):
    (row,) = [row for row in grid.rows if row.name == name]
    return [None if c.spread is None else round(c.spread, 6) for c in row.cells]


def test_scale_has_a_column_for_every_number_of_tasks(at, wishes):
    results = [at("m", (10 * n, 20), {"tasks": n}, position=n) for n in (2, 4, 8)]
    results += [at("n", (30, 30), {"tasks": n}, position=n, seed=s) for n in (2, 4) for s in (0, 1)]
    grid = grid_of(results, wishes)
    assert grid.groups == [("tasks", 3)] and [c.name for c in grid.columns] == ["2", "4", "8"]
    assert cells(grid, "m") == [20, 30, 50] and cells(grid, "n") == [30, 30, None]
    assert spreads(grid, "n") == [0, 0, None]
    assert grid_of(results, wishes, columns=["4"]).heads == ["tasks: 4"]


def test_unseen_has_merged_and_unseen_tasks_for_what_is_held_out_and_their_means(at, wishes):
    results = [
        at("m", (80, 20), {"held_out": ["b"]}, merged=["a"], position=0),
        at("m", (30, 60), {"held_out": ["a", "x"]}, merged=["b"], position=1),
        at("n", (70, 30), {"held_out": ["b"]}, merged=["a"], position=0),
        at("n", (20, 70), {"held_out": ["a", "x"]}, merged=["b"], position=1),
    ]
    grid = grid_of(results, wishes)
    assert grid.groups == [("b", 2), ("a, x", 2), ("all", 2)]
    assert [c.name for c in grid.columns] == ["merged", "unseen"] * 3
    assert cells(grid, "m") == [80, 20, 60, 30, 70, 25]
    assert [c.mark for c in grid.rows[0].cells] == ["best", "second", "second", "best", "best", "best"]
    assert cells(grid_of(results, wishes, columns=["average"]), "n") == [70, 25]
    assert cells(grid_of(results, wishes, columns=["unseen"]), "m") == [20, 30, 25]
    assert cells(grid_of(results, wishes, columns=["a+x"]), "m") == [60, 30]


def test_corruptions_are_means_over_severities_and_the_last_column_leaves_clean_out(at, wishes):
    points = [("clean", 0, 90), ("blur", 1, 80), ("blur", 5, 40), ("noise", 1, 70), ("noise", 5, 30)]
    results = [at("m", (c, c), {"corruption": k, "severity": s}, position=i) for i, (k, s, c) in enumerate(points)]
    grid = grid_of(results, wishes)
    assert grid.heads == ["clean", "blur", "noise", "corrupted"]
    assert cells(grid, "m") == [90, 60, 50, 55]
    assert "Severity 1, 5; where there are several, the mean over them." in grid.key
    lacking = [*results, at("n", (1, 1), {"corruption": "clean", "severity": 0}, position=0)]
    assert cells(grid_of(lacking, wishes), "n") == [1, None, None, None], "no mean over something else"


def test_sequences_are_means_over_orders_with_transfer_and_forgetting(at, wishes):
    results = []
    for order, (first, then, both) in {"0": (80, 60, 70), "1": (90, 50, 40)}.items():
        results.append(at("m", (first, 10), {"order": order, "step": 1}, merged=["a"], steps=2, position=0))
        results.append(at("m", (then, both), {"order": order, "step": 2}, merged=["a", "b"], steps=2, position=1))
    grid = grid_of(results, wishes)
    assert grid.groups == [("after step", 2), ("", 2)]
    assert [c.name for c in grid.columns] == ["1", "2", "backward", "forgetting"]
    assert cells(grid, "m") == [85, 55, -30, 30]
    assert spreads(grid, "m") == pytest.approx([50**0.5, 200**0.5, 200**0.5, 200**0.5])
    assert "±: standard deviation over orders." in grid.key
    assert [c.better for c in grid.columns] == [1, 1, 1, -1]


def test_a_study_is_shown_point_by_point_and_two_axes_make_groups(at, wishes):
    results = [at("m", (n, n), {"alpha": n}, study="s", position=n) for n in (10, 20)]
    assert grid_of(results, wishes).heads == ["alpha: 10", "alpha: 20"]
    two = [
        at("m", (10 * i + j, 10 * i + j), {"x": i, "y": j}, study="s", position=2 * i + j)
        for i in (1, 2)
        for j in (3, 4)
    ]
    grid = grid_of(two, wishes)
    assert grid.groups == [("x 1", 2), ("x 2", 2)] and cells(grid, "m") == [13, 14, 23, 24]


def test_experts_alone_are_rows(at, wishes):
    results = [
        at("average", c, {"expert": e}, merged=[e], position=i)
        for i, (e, c) in enumerate({"a": (9, 2), "b": (3, 8)}.items())
    ]
    grid = grid_of(results, wishes)
    assert grid.stub == "expert of" and grid.heads == ["a", "b"]
    assert [(row.name, cells(grid, row.name)) for row in grid.rows] == [("a", [9, 2]), ("b", [3, 8])]


def test_a_layout_can_be_asked_for_and_is_refused_where_it_does_not_fit(at, wishes):
    points = [("clean", 0), ("blur", 1), ("blur", 5)]
    results = [at("m", (9, 9), {"corruption": k, "severity": s}, position=i) for i, (k, s) in enumerate(points)]
    assert grid_of(results, wishes, "points").groups == [("corruption clean", 1), ("corruption blur", 2)]
    with pytest.raises(MergebenchError, match=r"--layout scale: shows none .* two on z \(corruptions\)"):
        grid_of(results, wishes, "scale")
