"""Two tracks on one board: each ranked by itself, what stands in both, and what tuning gave."""

import re

import numpy as np
import pytest
from scipy.stats import kendalltau

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.formatting import leaders
from mergebench.leaderboard.reported_numbers import Reported, agreements, rank_agreement, read_reported, shaped_by
from mergebench.leaderboard.selection import pick
from mergebench.leaderboard.site.known import Known
from mergebench.leaderboard.site.views import board_view
from mergebench.leaderboard.site.write import write_site
from mergebench.leaderboard.table import print_board
from mergebench.leaderboard.tables.choosing import Wishes
from mergebench.leaderboard.tables.layouts import make_grids
from mergebench.measuring.facts import NOTHING_TO_TUNE, TaskScore

RECORD = {
    "trials": 30, "trial": 7, "default": 0.4, "best": 0.5, "space": {"x": [0, 1]}, "from": {"x": 0},
    "studies": [{}, {}, {}],
}  # fmt: skip
CONFIRMED = RECORD | {"trial": 0}


def placed(board):
    return [(r.method, r.track, r.rank) for r in board.rows]


@pytest.fixture
def both(make_result):
    """Two methods in both tracks with other ranks, one whose default was best, one without anything to tune."""
    return [
        make_result("experts", (80, 90), role="ceiling"),
        make_result("base", (20, 20), role="floor"),
        make_result("a", (40, 40), hyperparameters={"x": 0}),
        make_result("a", (60, 60), hyperparameters={"x": 1}, tuned=RECORD),
        make_result("b", (50, 50), hyperparameters={"x": 0}),
        make_result("b", (52, 50), hyperparameters={"x": 1}, tuned=RECORD),
        make_result("c", (45, 45), hyperparameters={"x": 0}, tuned=CONFIRMED),
        make_result("d", (30, 30), tuned=dict(NOTHING_TO_TUNE)),
    ]


def test_each_track_is_ranked_by_itself_and_what_stands_in_both_has_a_row_in_each(both):
    (board,) = make_boards(both)
    published = [("b", "published", 1), ("c", "published", 2), ("a", "published", 3), ("d", "published", 4)]
    tuned = [("a", "tuned", 1), ("b", "tuned", 2), ("c", "tuned", 3), ("d", "tuned", 4)]
    expected = [("experts", "published", None), *published, ("base", "published", None), *tuned]
    assert placed(board) == expected
    assert [bool(r.tuned) for r in board.rows] == [False] * 6 + [True] * 3 + [False]


def test_where_nothing_was_measured_as_published_what_has_no_other_settings_is_not_ranked_there(both):
    (board,) = make_boards([r for r in both if r.tuned or r.role != "method"])
    assert [(m, track) for m, track, rank in placed(board) if rank] == [(m, "tuned") for m in "abcd"]
    assert {row.track for row in board.rows if row.role != "method"} == {"published"}
    assert "published settings" not in leaders(board)
    assert [row.method for row in board.rows] == ["experts", "a", "b", "c", "d", "base"], "references stand with them"
    # Of "d", which no search could better, nothing else has the row in tables and the point in pictures.
    (grid,) = make_grids([board], [], Wishes())
    assert [row.name for row in grid.rows if row.name in "abcd"] == list("abcd")
    points = {row["label"]: row["point"] for row in board_view(board, Known({}, {}))["tables"][0]["rows"]}
    assert points["D"] is not None


def test_failures_stay_last_in_whichever_track(both, make_result):
    failed = {"status": "failed", "error": "e", "tasks": {}, "merge": None, "evaluation": None}
    (board,) = make_boards(
        [*both, make_result("z", (0, 0), **failed), make_result("y", (0, 0), tuned=RECORD, **failed)]
    )
    assert placed(board)[-2:] == [("z", "published", None), ("y", "tuned", None)]


def test_without_a_search_there_is_one_track_whatever_has_nothing_to_tune(make_result):
    (board,) = make_boards([make_result("a", (40, 40)), make_result("d", (30, 30), tuned=dict(NOTHING_TO_TUNE))])
    assert placed(board) == [("a", "published", 1), ("d", "published", 2)] and board.note == ""
    assert not any(row.tuned for row in board.rows)


def test_what_tuning_gave_is_told_where_the_default_was_measured_with_the_same_seeds(both, make_result):
    (board,) = make_boards(both)
    gained = {r.method: r.gain for r in board.rows if r.track == "tuned"}
    assert gained == {"a": pytest.approx(0.2), "b": pytest.approx(0.01), "c": 0, "d": None}
    assert (
        "Tuning gave, in points on the test split against the default: A +20.0, B +1.0, C +0.0; "
        "on average +7.0 over 3 methods." in board.note
    )
    together = "with 30 trials in each of 3 studies, in % there (the default): A 50.0 (40.0), B 50.0 (40.0)"
    assert f"split: {together}; nothing better than the default of C. Tuning gave" in board.note
    other = make_result("a", (70, 70), hyperparameters={"x": 1}, tuned=RECORD, seed=1)
    (board,) = make_boards([*both, other])
    assert [r.gain for r in board.rows if r.method == "a"] == [None, None]


def studied(trials, seeds=(0,), trial=3, **facts):
    """The record of a search of so many trials in each study."""
    return RECORD | {"trials": trials, "studies": [{"seed": s} for s in seeds], "trial": trial} | facts


@pytest.mark.parametrize("longer", [{"trials": 8}, {"trials": 4, "seeds": (0, 1)}])
def test_of_a_search_that_has_gone_on_the_last_choice_stands(make_result, longer):
    """What it had chosen before is told, and the default it had kept stands among the published settings alone."""
    earlier = make_result("a", (50, 50), hyperparameters={"x": 2}, tuned=studied(4))
    kept = make_result("a", (40, 40), hyperparameters={"x": 0}, tuned=studied(3, trial=0))
    last = make_result("a", (45, 45), hyperparameters={"x": 1}, tuned=studied(**longer))
    (board,) = make_boards([earlier, kept, last])
    assert [(r.hyperparameters["x"], r.track, r.rank) for r in board.rows] == [(0, "published", 1), (1, "tuned", 1)]
    assert "Left out, as the search that chose it has gone on since: A (x=2, with 4 trials)." in board.note
    assert [r.gain for r in board.rows if r.track == "tuned"] == [pytest.approx(0.05)]


@pytest.mark.parametrize(
    "other", [{"fixed": {"n": 4}}, {"space": {"x": [0, 1, 2]}}, {"seeds": (1,)}, {"trials": 4}], ids=str
)
def test_choices_of_different_searches_stand_beside_each_other(make_result, other):
    """Another space, other fixed settings, another study, or one budget: none of them is more of the other."""
    results = [
        make_result("a", (50, 50), hyperparameters={"x": 2}, tuned=studied(4)),
        make_result("a", (45, 45), hyperparameters={"x": 1}, tuned=studied(**({"trials": 8} | other))),
    ]
    (board,) = make_boards(results)
    assert [(r.track, r.rank) for r in board.rows] == [("tuned", 1), ("tuned", 2)] and "Left out" not in board.note


def test_what_is_told_of_the_tuned_leaders_is_one_sentence(make_proven):
    right = np.arange(1000) < 700
    results = [make_proven(m, right, right, hyperparameters={"x": 1}, tuned=RECORD) for m in "ab"]
    (board,) = make_boards(results)
    assert leaders(board) == "Under tuned settings: not to be told from A (tuned: x=1): B (tuned: x=1)."


def test_table_and_page_tell_the_tracks_apart(both, capsys, tmp_path):
    boards = make_boards(both)
    print_board(boards[0])
    out = capsys.readouterr().out
    assert "track" in out and "Each track is ranked by itself." in out
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "tuned", "A", "(tuned:", "x=1)"] in [line[:5] for line in lines]
    assert ["4", "tuned", "D"] in [line[:3] for line in lines] and ["4", "published", "D"] in [
        line[:3] for line in lines
    ]
    page = write_site(boards, tmp_path / "site").read_text()
    assert len(re.findall(r"<th[^>]*>track</th>", page)) == 1 and "A +20.0" in page
    links = re.findall(r'data-row="([^"]+)"', page)
    assert len(links) == len(set(links)) == len(boards[0].rows)  # a method in both tracks has two
    print_board(make_boards(both[:3])[0])
    assert "track" not in capsys.readouterr().out


def test_comparing_a_method_that_stands_in_both_tracks_is_not_ambiguous(both):
    (board,) = make_boards(both)
    assert pick(board, "d").track == "published" and pick(board, "c").method == "c"
    assert pick(board, "a:x=1").track == "tuned"


def test_agreement_with_the_published_order_is_told_of_each_track(both, make_result):
    (board,) = make_boards(both)
    reported = Reported("x", 2, "y", {"a": 4, "b": 3, "c": 2, "d": 1})
    found = rank_agreement(board, reported, "tuned")
    assert (found.tau, found.methods) == (pytest.approx(1), tuple("abcd"))
    assert rank_agreement(board, reported).tau == pytest.approx(kendalltau([40, 50, 45, 30], [4, 3, 2, 1]).statistic)


def test_methods_that_had_a_part_in_making_the_zoo_are_named_beside_the_agreement(make_result):
    from mergebench.catalogue import registry

    published = next(r for r in read_reported() if (r.tasks, r.checkpoints) == (8, "fusionbench-hf"))
    tasks = {f"t{n}": make_result("x", (1, 1)).tasks["a"] for n in range(8)}
    names = [n for n in published.averages if n not in ("pretrained", "finetuned")][:6]
    told_of = [{t: s.model_copy(update={"correct": n}) for t, s in tasks.items()} for n in range(len(names))]
    results = [make_result(n, (1, 1), suite="s", zoo="tiny", tasks=t) for n, t in zip(names, told_of, strict=True)]
    (board,) = make_boards(results)
    told = agreements(board)
    shaped = [n for n in shaped_by("tiny") if n in names]
    assert (
        shaped and told[-1] == f"The zoo was made with an eye on {', '.join(shaped)}: their order is partly built in."
    )
    assert "over draws of them)" in told[0]
    (elsewhere,) = make_boards([r.model_copy(update={"zoo": "other"}) for r in results])
    assert len(agreements(elsewhere)) == len(told) - 1
    assert set(shaped_by("tiny")) <= set(registry.methods()) and shaped_by("other") == []


def test_in_a_pipe_no_cell_of_a_board_is_cut_however_wide_it_is(make_result, capsys):
    """Long names, many tasks: none of it fits into the width that a terminal is thought to have."""
    tasks = {f"task-with-a-long-name-{i}": TaskScore(correct=i, total=100, predictions="x") for i in range(12)}
    settings = {"hyperparameters": {"a-long-setting": 0.123456, "x": 1}, "tuned": RECORD}
    results = [make_result("m", (0, 0), tasks=tasks, **settings), make_result("n", (0, 0), tasks=tasks)]
    print_board(make_boards(results)[0])
    out = capsys.readouterr().out
    assert "…" not in out and all(task in out for task in tasks) and "M (tuned: x=1)" in out
    assert " 1  tuned " in out


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [(118, ""), (90, "tasks"), (72, "needs, tasks, peak MB"), (60, "relative"), (46, "95 %, relative")],
)
def test_a_narrow_terminal_leaves_columns_to_the_page_and_cuts_no_number(both, capsys, monkeypatch, columns, left_out):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_board(make_boards(both)[0])
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= columns and "…" not in out and "..." not in out
    told = " ".join(out.split()).partition("On the page: ")[2]
    assert bool(told) == bool(left_out) and left_out in told
    for name in ("#", "track", "method", "average", "50.0", "85.0"):  # whatever happens, these stay whole
        assert name in out.split()


def test_where_both_tracks_have_leaders_each_is_named(make_proven):
    right = np.arange(1000) < 700
    results = [make_proven(m, right, right) for m in "ab"]
    assert leaders(make_boards(results)[0]) == "Not to be told from A: B."
    results += [make_proven(m, right, right, hyperparameters={"x": 1}, tuned=RECORD) for m in "cd"]
    told = leaders(make_boards(results)[0])
    assert "Under published settings: not to be told from A: B." in told and "Under tuned settings: " in told


def test_what_somebody_gave_is_beside_the_tracks_and_moves_none_of_their_ranks(both, make_result):
    (plain,) = make_boards(both)
    by_hand = [
        make_result("a", (90, 90), hyperparameters={"x": 5}, given={"x": 0}),
        make_result("d", (41, 41), hyperparameters={"y": 2}, given={"y": 1}, tuned=dict(NOTHING_TO_TUNE)),
        make_result("b", (52, 50), hyperparameters={"x": 1}, given={"x": 0}, tuned=RECORD),  # which a search chose, too
    ]
    (board,) = make_boards([*(r for r in both if r.hyperparameters != {"x": 1} or r.method != "b"), *by_hand])
    assert [p for p in placed(board) if p[1] != "given"] == placed(plain)
    given = [row for row in board.rows if row.track == "given"]
    assert [(board.label(r), r.rank, r.ranks, r.leading) for r in given] == [
        ("A (x=5)", None, None, None),
        ("D (y=2)", None, None, None),
    ]
    assert board.rows.index(given[0]) < board.rows.index(given[1]) < board.rows.index(plain.rows[-1])
    told = "With settings given by hand, in no track and not ranked: A (x=5, published 0); D (y=2, published 1)."
    assert told in board.note and told not in board.published_note
    assert "given" not in leaders(board) and not any("given" in one for one in agreements(board))


def test_settings_given_by_hand_alone_are_not_ranked_and_move_no_default_into_its_track(both, make_result):
    tuned = [r for r in both if r.tuned or r.role != "method"]
    (board,) = make_boards([*tuned, make_result("e", (1, 1), hyperparameters={"x": 5}, given={"x": 0})])
    assert {r.track for r in board.rows if r.rank} == {"tuned"}
    (board,) = make_boards([make_result("e", (1, 1), hyperparameters={"x": 5}, given={"x": 0})])
    assert placed(board) == [("e", "given", None)] and leaders(board) == ""


def test_the_same_settings_are_published_ones_again_once_nobody_gives_them(make_result):
    results = [
        make_result("a", (1, 1), hyperparameters={"x": 1}, given={"x": 0}, seed=0, asked="2026-01-01"),
        make_result("a", (1, 1), hyperparameters={"x": 1}, seed=1, asked="2026-01-02"),
    ]
    (board,) = make_boards(results)
    assert placed(board) == [("a", "published", 1)]


def test_a_row_is_picked_by_its_track(both, make_result):
    (board,) = make_boards([make_result("e", (1, 1), given={"x": 1}), *both])
    assert pick(board, "b", "tuned").hyperparameters == {"x": 1} and pick(board, "b", "published").rank
    assert pick(board, "experts", "tuned").role == "ceiling", "a reference is of no track"
    with pytest.raises(MergebenchError, match=r"say which by settings, as b:NAME=VALUE, or by --track; there are: B"):
        pick(board, "b")
    with pytest.raises(MergebenchError, match="e: no row of the tuned track, but of: given"):
        pick(board, "e", "tuned")
