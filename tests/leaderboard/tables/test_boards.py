"""Boards as grids: rows, columns, order, tracks, seeds, several zoos, reported numbers."""

from dataclasses import replace

import pytest

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.reported_numbers import Reported
from mergebench.leaderboard.tables import boards as module
from mergebench.leaderboard.tables.boards import backbone_grid, board_grid
from mergebench.leaderboard.tables.choosing import published
from mergebench.leaderboard.tables.layouts import make_grids
from mergebench.measuring.results import Listing

DEFAULT, CHOSEN = {"alpha": 0.3}, {"alpha": 0.7}
RECORD = {"trials": 20, "trial": 3, "space": {"alpha": [0, 1]}, "default": 0.4, "best": 0.5}


def names(grid):
    return [row.name for row in grid.rows]


def column(grid, name):
    place = grid.heads.index(name)
    return [row.cells[place] for row in grid.rows]


def values(grid, name):
    return [None if c.value is None else round(c.value, 6) for c in column(grid, name)]


def test_methods_by_tasks_and_average_with_references_above(board, wishes):
    grid = board_grid(board, wishes())
    assert grid.heads == ["a", "b", "average"]
    assert names(grid) == ["pretrained", "finetuned", "ties", "average", "c"]
    assert [row.reference for row in grid.rows] == [True, True, False, False, False]
    assert values(grid, "average") == [52.5, 85, 65, 62.5, 51]
    assert [c.mark for c in column(grid, "a")] == ["", "", "best", "second", ""]
    assert [c.mark for c in column(grid, "b")] == ["", "", "second", "best", ""]


def test_seeds_give_a_mean_and_a_standard_deviation_where_it_is_asked_for(board, wishes):
    spread = {kind: board_grid(board, wishes(spread=kind)).rows[-1].cells for kind in ("average", "all", "none")}
    assert [cell.value for cell in spread["all"]] == pytest.approx([42, 60, 51])
    assert [cell.spread for cell in spread["all"]] == pytest.approx([8**0.5, 0, 2**0.5])
    assert [cell.spread for cell in spread["average"]] == [None, None, pytest.approx(2**0.5)]
    assert [cell.spread for cell in spread["none"]] == [None] * 3
    assert "±: standard deviation over 2 seeds." in board_grid(board, wishes()).key
    assert not [s for s in board_grid(board, wishes(spread="none")).key if "±" in s]


@pytest.mark.parametrize(
    ("rows", "order", "expected"),
    [
        (["methods"], "average", ["ties", "average", "c"]),
        (["methods"], "year", ["average", "ties", "c"]),
        (["methods"], "name", ["average", "c", "ties"]),
        (["c", "pretrained", "ties"], "given", ["c", "pretrained", "ties"]),
        (["t*", "references"], "given", ["ties", "finetuned", "pretrained"]),
        (["calibration", "references"], "average", ["pretrained", "finetuned", "c"]),
        (["ties", "all"], "average", ["pretrained", "finetuned", "ties", "average", "c"]),
    ],
)
def test_rows_are_those_asked_for_in_the_order_asked_for(board, wishes, rows, order, expected):
    assert names(board_grid(board, wishes(rows=rows, order=order))) == expected


def test_columns_are_those_asked_for_in_their_order(board, wishes):
    grid = board_grid(board, wishes(columns=["average", "b", "rank", "needs", "relative", "seconds", "peak"]))
    assert grid.heads == ["average", "b", "rank", "needs", "relative", "seconds", "peak MB"]
    assert [c.text for c in column(grid, "rank")] == ["-", "-", "1", "2", "3"]
    assert values(grid, "seconds") == [1.0] * 5 and values(grid, "peak MB") == [1.0] * 5
    assert board_grid(board, wishes(columns=["b", "tasks"])).heads == ["b", "a"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rows": ["tis"]}, "unknown row 'tis'; did you mean 'ties'?"),
        ({"columns": ["averge"]}, "unknown column 'averge'; did you mean 'average'?"),
        ({"columns": ["a", "nothing"]}, "unknown column 'nothing'; there are: "),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(board, wishes, given, told):
    with pytest.raises(MergebenchError) as refusal:
        make_grids([board], [], wishes(**given))
    assert str(refusal.value).startswith(told)


def test_of_several_tables_those_are_shown_that_have_a_row_asked_for(board, make_result, wishes):
    (other,) = make_boards([make_result("sce", (50, 60), suite="other"), make_result("ties", (55, 65), suite="other")])

    def shown(*rows, **given):
        made = make_grids([board, other], [], wishes(rows=list(rows), **given))
        return {grid.name: [row.label for row in grid.rows] for grid in made}

    first, second = (f"{b.suite}-{b.zoo}" for b in (board, other))
    assert list(shown("sce")) == [second] and list(shown("average", "c")) == [first]
    both = shown("sce", "average", "ties", order="given")
    assert len(both[first]) == len(both[second]) == 2  # average and ties; sce and ties
    with pytest.raises(MergebenchError, match="unknown row 'sec'; did you mean 'sce'"):
        shown("ties", "sec")


@pytest.mark.parametrize(
    ("paper", "when"),
    [("arXiv:2306.01708", (2023, 6)), ("Shoemake, SIGGRAPH 1985", (1985, 0)), ("", (9999, 0)), ("12345", (9999, 0))],
)
def test_a_papers_reference_tells_its_year(paper, when):
    assert published(paper) == when


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ("all", [("m", "M (tuned: alpha=0.7)"), ("m", "M (alpha=0.3)"), ("n", "N"), ("o", "O (alpha=0.5)")]),
        ("published", [("m", "M"), ("n", "N")]),
        ("tuned", [("m", "M (tuned: alpha=0.7)")]),
        ("given", [("o", "O (alpha=0.5)")]),
    ],
)
def test_a_track_has_its_own_rows_and_references_are_in_both(make_result, wishes, track, expected):
    results = [
        make_result("e", (80, 90), role="ceiling"),
        make_result("m", (40, 45), hyperparameters=DEFAULT),
        make_result("m", (50, 55), hyperparameters=CHOSEN, tuned=RECORD),
        make_result("n", (10, 10)),
        make_result("o", (5, 5), hyperparameters={"alpha": 0.5}, given=DEFAULT),
    ]
    grid = board_grid(make_boards(results)[0], wishes(track=track))
    assert [(row.name, row.label) for row in grid.rows] == [("e", "E"), *expected]
    told = " ".join(grid.notes)
    assert ("on the validation split" in told) == (track != "published"), "no word of searches without their rows"
    assert ("track" in grid.heads) == (track == "all"), "which track is told where there are several"


def test_a_submission_is_told_from_what_was_measured_here(make_result, wishes):
    theirs = make_result("m", (50, 55)).listed(Listing("theirs", "A. Author", "self-reported"))
    boards = make_boards([make_result("m", (40, 45)), theirs])
    for grid in (board_grid(boards[0], wishes()), backbone_grid(boards, wishes())):
        assert [row.label for row in grid.rows] == ["M [self-reported]", "M"]
    assert grid.title.startswith("two on 1 zoo:")


def test_settings_given_by_hand_are_neither_best_nor_second(make_result, wishes):
    results = [make_result(name, (count, count)) for name, count in (("m", 40), ("n", 30), ("p", 20))]
    by_hand = make_result("o", (90, 90), hyperparameters={"alpha": 0.5}, given=DEFAULT)
    grid = board_grid(make_boards([*results, by_hand])[0], wishes(columns=["average"]))
    assert [(row.name, row.cells[0].mark) for row in grid.rows] == [
        ("o", ""),
        ("m", "best"),
        ("n", "second"),
        ("p", ""),
    ]
    assert "second underlined, settings given by hand aside." in grid.caption


def test_a_search_that_kept_the_default_is_in_both_tracks(make_result, wishes):
    (board,) = make_boards([make_result("m", (40, 45), hyperparameters=DEFAULT, tuned=RECORD | {"trial": 0})])
    assert all(names(board_grid(board, wishes(track=track))) == ["m"] for track in ("published", "tuned"))
    both = board_grid(board, wishes())
    assert [row.cells[0].text for row in both.rows] == ["published", "tuned"] and both.heads[0] == "track"
    assert "Each track is ranked by itself" in both.caption
    assert names(board_grid(board, wishes(columns=["average"]))) == ["m"], "once where nothing parts the tracks"
    assert board_grid(board, wishes(columns=["average", "rank"])).heads == ["track", "average", "rank"]


def test_what_is_not_distinguishable_from_the_best_is_told(board, wishes):
    leading = {"ties": True, "average": True, "c": False}
    rows = tuple(replace(row, leading=leading.get(row.method)) for row in board.rows)
    grid = board_grid(replace(board, rows=rows), wishes())
    assert [c.close for c in column(grid, "average")] == [False, False, False, True, False], "the best needs no mark"
    assert [c.leading for c in column(grid, "average")] == [False, False, True, True, False]
    assert any("not distinguishable" in sentence for sentence in grid.key)
    assert not any("distinguishable" in sentence for sentence in board_grid(board, wishes()).key)


def test_a_failed_method_has_no_row_and_is_told(make_result, wishes):
    failed = make_result("bad", (0, 0), status="failed", error="it diverged", tasks={}, merge=None, evaluation=None)
    grid = board_grid(make_boards([failed, make_result("m", (1, 1))])[0], wishes())
    assert names(grid) == ["m"] and grid.notes == ("Bad failed: it diverged.",)


def backbones(make_result, **changes):
    results = []
    for zoo, more in (("b32", 0), ("b16", 10), ("l14", 5)):
        results += [
            make_result("e", (90, 90), role="ceiling", zoo=zoo, **changes.get(zoo, {})),
            make_result("m", (50 + more, 60), zoo=zoo, hyperparameters={"scaling": more}, **changes.get(zoo, {})),
            make_result("n", (60, 60), zoo=zoo, **changes.get(zoo, {})),
        ]
    return make_boards(results)


def test_several_zoos_stand_side_by_side_and_settings_of_their_own_part_no_rows(make_result, wishes):
    boards = backbones(make_result, b16={"checkpoints": {"backbone": "ViT-B/16"}})
    (grid,) = make_grids(boards, [], wishes())
    assert grid.groups == [("ViT-B/16", 1), ("b32", 1), ("l14", 1)]
    assert [c.name for c in grid.columns] == ["average"] * 3 and [r.label for r in grid.rows] == ["E", "N", "M"]
    assert [[round(c.value, 6) for c in row.cells] for row in grid.rows[1:]] == [[60, 60, 60], [60, 55, 57.5]]
    assert [[c.mark for c in row.cells] for row in grid.rows[1:]] == [["best"] * 3, ["best", "second", "second"]]
    assert len(make_grids(boards, [], wishes(), "tasks")) == 3
    tasks = backbone_grid(boards, wishes(columns=["tasks", "average"]))
    assert tasks.groups == [("ViT-B/16", 3), ("b32", 3), ("l14", 3)], "groups stay together"


def test_zoos_of_one_backbone_are_called_by_their_own_names(make_result, wishes):
    stated = {"checkpoints": {"backbone": "ViT-B/16"}}
    assert backbone_grid(backbones(make_result, b16=stated, b32=stated), wishes()).groups == [
        ("b16", 1),
        ("b32", 1),
        ("l14", 1),
    ]


def test_a_row_that_a_zoo_lacks_has_a_dash_there_and_comes_last(make_result, wishes):
    boards = make_boards([*[make_result("m", (10, 10), zoo=z) for z in "xy"], make_result("n", (90, 90), zoo="x")])
    grid = backbone_grid(boards, wishes())
    assert names(grid) == ["m", "n"] and [c.value for c in grid.rows[1].cells] == [90, None]


def test_settings_that_one_zoo_has_several_of_part_rows(make_result, wishes):
    results = [make_result("m", (10 + a, 10), zoo=z, hyperparameters={"alpha": a}) for z in "xy" for a in (1, 2)]
    assert [row.label for row in backbone_grid(make_boards(results), wishes()).rows] == ["M (alpha=2)", "M (alpha=1)"]


def test_tuned_settings_are_a_zoos_own_too(make_result, wishes):
    results = [
        make_result("m", (10 + a, 10), zoo=z, hyperparameters={"alpha": a}, tuned=tuned)
        for a, z, tuned in ((1, "x", {}), (1, "y", {}), (2, "x", RECORD), (3, "y", RECORD))
    ]
    grid = backbone_grid(make_boards(results), wishes())
    assert [row.label for row in grid.rows] == ["M (tuned)", "M"]
    assert [row.cells[0].text for row in grid.rows] == ["tuned", "published"]
    assert [[c.value for c in row.cells[1:]] for row in grid.rows] == [
        [pytest.approx(11), pytest.approx(11.5)],
        [pytest.approx(10.5)] * 2,
    ]


def test_a_title_of_a_thousand_letters_is_cut(make_result, wishes):
    (board,) = make_boards([make_result("m", (10, 10), title="x" * 1000)])
    assert board_grid(board, wishes()).rows[0].label == "x" * 200 + "... (1,000 characters)"


def test_several_suites_are_columns_within_a_zoo(make_result, wishes):
    results = [make_result("m", (10, 30), zoo=z, suite=s) for z in "xy" for s in ("two", "other")]
    grid = backbone_grid(make_boards(results), wishes())
    assert grid.groups == [("x", 2), ("y", 2)] and [c.name for c in grid.columns[:2]] == ["other", "two"]
    third = make_result("m", (10, 30), zoo="x", suite="one")
    results.append(third.model_copy(update={"tasks": {"a": third.tasks["a"]}}))
    boards = [board for board in make_boards(results) if board.suite != "other"]
    assert backbone_grid(boards[::-1], wishes()).heads == ["y: 2 tasks", "x: 1 tasks", "x: 2 tasks"]


STATED = {"backbone": "B", "family": "f"}


@pytest.fixture
def reported(monkeypatch):
    """What is published: of family f on tasks a and b, and of another on the same."""
    sets = [Reported("B", 2, "g", {"m": 99.0}, "ab"), Reported("B", 2, "f", {"m": 45.0, "e": 90.0}, "ab")]
    monkeypatch.setattr("mergebench.leaderboard.reported_numbers.read_reported", lambda: sets)
    return module


def test_reported_stands_beside_measured_of_the_same_family_alone(make_result, wishes, reported):
    results = [
        make_result("e", (80, 90), role="ceiling", checkpoints=STATED),
        make_result("m", (40, 45), hyperparameters=DEFAULT, checkpoints=STATED),
        make_result("m", (50, 55), hyperparameters=CHOSEN, tuned=RECORD, checkpoints=STATED),
        make_result("n", (40, 45), checkpoints=STATED),
    ]
    grid = board_grid(make_boards(results)[0], wishes(columns=["average", "reported", "difference"]))
    assert values(grid, "reported") == [90, None, 45, None], "nothing is published of tuned settings, and of n"
    assert values(grid, "difference") == [-5, None, -2.5, None]
    assert not any(c.mark for c in column(grid, "reported")), "published numbers are not ranked"


@pytest.mark.parametrize("stated", [{}, {"backbone": "B"}, {"family": "f"}, {"backbone": "C", "family": "f"}])
def test_without_the_same_family_backbone_and_tasks_there_is_no_reported_column(make_result, wishes, reported, stated):
    (board,) = make_boards([make_result("m", (40, 45), checkpoints=stated)])
    for name in ("reported", "difference"):
        with pytest.raises(MergebenchError, match=f"column '{name}': no published averages of the same checkpoints"):
            board_grid(board, wishes(columns=["average", name]))


def test_as_many_other_tasks_are_not_the_published_ones(make_result, wishes, reported):
    ours = make_result("m", (40, 45), checkpoints=STATED)
    other = ours.model_copy(update={"tasks": {"a": ours.tasks["a"], "c": ours.tasks["b"]}})
    with pytest.raises(MergebenchError, match="no published averages"):
        board_grid(make_boards([other])[0], wishes(columns=["reported"]))


def test_a_table_without_a_row_is_refused(board, wishes):
    with pytest.raises(MergebenchError, match="no row methods of the tuned track; all tracks are shown without"):
        make_grids([board], [], wishes(rows=["methods"], track="tuned"))
    assert make_grids([board], [], wishes(rows=["references"], track="tuned"))
