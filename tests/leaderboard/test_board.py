"""Ranking, grouping and what the page and the table show."""

from html.parser import HTMLParser

import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.reported_numbers import Reported, rank_agreement, read_reported
from mergebench.leaderboard.site.write import write_site
from mergebench.leaderboard.table import print_board

LATER = "2026-02-01T00:00:00+00:00"


def board_of(results):
    (board,) = make_boards(results)
    return board


def test_methods_are_ranked_by_average_and_references_are_not(make_result):
    board = board_of(
        [
            make_result("low", (10, 20)),
            make_result("floor", (30, 30), role="floor"),
            make_result("high", (70, 80)),
            make_result("experts", (80, 90), role="ceiling"),
        ]
    )
    assert [(r.method, r.rank) for r in board.rows] == [("experts", None), ("high", 1), ("floor", None), ("low", 2)]


def test_equal_averages_share_a_rank(make_result):
    board = board_of([make_result("a", (50, 60)), make_result("b", (60, 50)), make_result("c", (10, 10))])
    assert [r.rank for r in board.rows] == [1, 1, 3]


def test_relative_is_the_mean_of_the_tasks_ratios(make_result):
    (row,) = board_of([make_result("m", (40, 45))]).rows
    assert row.relative == pytest.approx((40 / 80 + 45 / 90) / 2)


def test_seeds_are_averaged_into_one_row_with_their_spread(make_result):
    (row,) = board_of([make_result("m", (40, 40), seed=0), make_result("m", (60, 60), seed=1)]).rows
    assert row.seeds == (0, 1)
    assert row.average == pytest.approx(0.5)
    assert row.spread == pytest.approx(0.1 * 2**0.5)


def test_the_newest_measurement_of_a_cell_counts(make_result):
    old = make_result("m", (10, 10), source="before")
    new = make_result("m", (60, 60), source="after", started="2026-02-01T00:00:00+00:00")
    (row,) = board_of([new, old]).rows
    assert row.average == pytest.approx(0.6)


def test_results_on_other_weights_do_not_share_a_board(make_result):
    old = make_result("old", (90, 90), weights="other")
    new = make_result("new", (60, 60), started="2026-02-01T00:00:00+00:00")
    assert [r.method for r in board_of([old, new]).rows] == ["new"]


def test_results_under_other_conditions_do_not_share_a_board(make_result):
    old = make_result("old", (90, 90), conditions={"restrict": {"blocks": "late"}})
    new = make_result(
        "new", (60, 60), conditions={"restrict": {"blocks": "early"}}, started="2026-02-01T00:00:00+00:00"
    )
    assert [r.method for r in board_of([old, new]).rows] == ["new"]


def test_seeds_from_before_and_after_a_change_of_code_are_not_averaged(make_result):
    old = [make_result("m", (10, 10), source="before", seed=s) for s in (0, 1)]
    new = make_result("m", (60, 60), source="after", started="2026-02-01T00:00:00+00:00")
    (row,) = board_of([*old, new]).rows
    assert (row.seeds, row.average) == ((0,), pytest.approx(0.6))


def test_unusual_conditions_stand_under_the_table(make_result, capsys, tmp_path):
    boards = make_boards([make_result("m", (40, 45), conditions={"restrict": {"component": "mlp"}})])
    print_board(boards[0])
    told = "All merged with restrict.component=mlp."
    assert told in capsys.readouterr().out and told in write_site(boards, tmp_path / "site").read_text()


def test_a_failure_stands_last_with_its_reason(make_result):
    failed = make_result("bad", (0, 0), status="failed", error="it diverged", tasks={}, merge=None, evaluation=None)
    board = board_of([failed, make_result("good", (1, 1))])
    assert [(r.method, r.rank, r.error) for r in board.rows] == [("good", 1, None), ("bad", None, "it diverged")]


class _Text(HTMLParser):
    """Collects cells, and whatever a page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.rows, self.loaded = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        self.loaded += [v for k, v in attributes if k in ("src", "href")]

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_the_page_shows_every_row_loads_nothing_and_escapes_names(make_result, tmp_path):
    results = [make_result("m", (40, 45)), make_result("<script>", (10, 10))]
    path = write_site(make_boards(results), tmp_path / "site")
    page = _Text()
    page.feed(path.read_text())
    assert all(address.startswith("#") or (path.parent / address).is_file() for address in page.loaded)
    body = {row[1].removesuffix("#"): row for row in page.rows[1:]}
    assert body["M"][0] == "1" and body["M"][3] == "42.5" and body["M"][6:8] == ["40.0", "45.0"]
    assert "<Script>" in body


def test_the_table_shows_rank_average_and_interval(make_result, capsys):
    board = board_of([make_result("m", (40, 45))])
    print_board(board)
    low, high = board.rows[0].interval
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["1", "M"])
    assert "42.5" in line and f"{100 * low:.1f}-{100 * high:.1f}" in line


def test_the_spread_over_seeds_has_a_column_where_there_are_several(make_result, capsys):
    one, other = make_result("m", (40, 40)), make_result("m", (44, 44), seed=1)
    print_board(board_of([one]))
    assert "± seeds" not in capsys.readouterr().out
    print_board(board_of([one, other]))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["1", "M"])
    assert line.split()[3:5] == ["42.0", "2.8"]  # the root of 8


def test_rows_of_one_method_are_told_apart_by_what_differs(make_result, capsys):
    results = [make_result("m", (40, 45), hyperparameters={"alpha": a, "n": 3}) for a in (0.1, 0.9)]
    print_board(board_of(results))
    out = capsys.readouterr().out
    assert "M (alpha=0.1)" in out and "M (alpha=0.9)" in out and "n=3" not in out


def test_a_setting_of_any_length_leaves_room_for_the_numbers(make_result, capsys):
    results = [make_result("m", (c, 45), hyperparameters={"w": [c] * 2000}) for c in (41, 43)]
    print_board(board_of(results))
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.split()[:2] == ["1", "M"])
    assert "w=[43, 43, " in line and "... (8,000 characters)" in line and "44.0" in line


def test_what_was_asked_for_last_counts_even_if_it_was_measured_first(make_result):
    old = make_result("m", (80, 80), source="before", asked="2026-03-01T00:00:00.000+00:00")
    new = make_result("m", (10, 10), source="after", started="2026-02-01T00:00:00+00:00")
    (board,) = make_boards([old, new])
    assert [r.average for r in board.rows] == [0.8]


def test_a_change_that_is_undone_shows_the_old_numbers_again(make_result):
    told = [("m", 80, "one"), ("n", 70, "one"), ("m", 10, "two"), ("n", 60, "one")]
    (board,) = make_boards(
        make_result(m, (c, c), weights=w, started=f"2026-03-0{day}T00:00:00+00:00")
        for day, (m, c, w) in enumerate(told, start=1)
    )
    assert [(r.method, r.average) for r in board.rows] == [("m", 0.8), ("n", 0.6)]


def test_a_failure_elsewhere_does_not_take_a_boards_place(make_result):
    gpu = make_result("m", (60, 60)).environment.model_copy(update={"device": "cuda:0 (NVIDIA X)"})
    nothing = {"status": "failed", "error": "no memory", "tasks": {}, "merge": None, "evaluation": None}
    failed = make_result("n", (0, 0), environment=gpu, started=LATER, **nothing)
    (board,) = make_boards([make_result("m", (80, 80)), failed])
    assert [(r.method, r.average) for r in board.rows] == [("m", 0.8)]


def test_a_cpus_results_do_not_stand_beside_a_gpus(make_result):
    environment = make_result("m", (60, 60)).environment
    gpu = environment.model_copy(update={"device": "cuda:0 (NVIDIA X)"})
    on_gpu = make_result("m", (60, 60), seed=1, environment=gpu, started=LATER)
    (board,) = make_boards([make_result("m", (80, 80)), make_result("n", (70, 70)), on_gpu])
    assert [(r.method, r.seeds) for r in board.rows] == [("m", (1,))]


def test_environments_that_differ_are_told(make_result):
    environment = make_result("m", (60, 60)).environment
    other = environment.model_copy(update={"threads": 8, "packages": {"torch": "3"}, "git_commit": "x"})
    (board,) = make_boards([make_result("m", (80, 80)), make_result("n", (70, 70), environment=other)])
    assert board.note == "Measured in several environments: threads 1 and 8; torch 2 and 3."


def test_too_few_methods_in_common_have_no_agreement(make_result, recwarn):
    (board,) = make_boards([make_result("a", (80, 80))])
    assert rank_agreement(board, Reported("b", 2, "c", {"a": 1.0})) is None and not recwarn


def test_rank_agreement_is_one_for_the_same_order_and_minus_one_for_the_reverse(make_result):
    board = board_of([make_result(m, (10 * i, 10)) for i, m in enumerate("abcd")])
    same = Reported("x", 2, "y", {"a": 1, "b": 2, "c": 3, "d": 4, "unknown": 9})
    found = rank_agreement(board, same)
    assert (found.tau, found.methods) == (pytest.approx(1), tuple("dcba"))
    reverse = Reported("x", 2, "y", {"a": 4, "b": 3, "c": 2, "d": 1})
    assert rank_agreement(board, reverse).tau == pytest.approx(-1)


def test_published_sets_name_registered_methods_or_those_known_to_be_lacking():
    from mergebench.catalogue import registry

    lacking = {"cart", "dc_merge", "esm", "fr_merging"}
    for reported in read_reported():
        assert set(reported.averages) <= {*registry.methods(), *lacking}
        assert reported.averages.get("pretrained", 0) <= reported.averages.get("average", 100)
        assert reported.averages.get("finetuned", 100) >= max(reported.averages.values())
        assert len(set(reported.names)) == reported.tasks, "every set says whose tasks it is over"


def test_published_sets_cover_the_family_of_twenty_tasks_on_three_backbones_apart_from_others():
    sets = {(r.backbone, r.tasks, r.checkpoints): r for r in read_reported()}
    tall = {key for key in sets if key[2] == "tall"}
    assert tall == {(f"CLIP ViT-{b}", n, "tall") for b in ("B/32", "B/16", "L/14") for n in (8, 14, 20)}
    assert sets["CLIP ViT-L/14", 20, "tall"].averages["iso_cts"] == 90.1
    assert sets["CLIP ViT-B/32", 8, "ta-drive"].averages == {"cart": 84.7}
    assert "cart" not in sets["CLIP ViT-B/32", 8, "tall"].averages
    assert sets["CLIP ViT-B/32", 14, "tall"].averages["cart"] == 79.5
    theirs, ours = (sets["CLIP ViT-B/32", 8, name].names for name in ("tall", "fusionbench-hf"))
    assert theirs == ours and "emnist_letters" not in sets["CLIP ViT-B/32", 20, "tall"].names


def test_published_tasks_are_those_of_the_registered_zoos_and_suites_of_the_same_family():
    """So that `clip-8`, `clip-14` and `clip-20` find what is published of them, and the tiny zoo nothing."""
    from mergebench.catalogue.yaml_files import read_suite, read_zoo

    sets = {(r.backbone, r.checkpoints, r.tasks): r for r in read_reported()}
    zoo = read_zoo("clip-vit-b-32")
    assert set(sets[zoo.backbone, zoo.family, 8].names) == set(read_suite("clip-8").merge) == set(zoo.tasks[:8])
    assert {read_zoo(f"clip-vit-{b}").backbone for b in ("b-16", "l-14")} == {"CLIP ViT-B/16", "CLIP ViT-L/14"}
    assert (read_zoo("tiny").backbone, read_zoo("tiny").family) == ("", "")


def test_a_board_of_a_published_family_has_reported_and_difference_columns(make_result, capsys, monkeypatch):
    stated = {"backbone": "B", "family": "f"}
    sets = [Reported("B", 2, "f", {"m": 45.0}, "ab")]
    monkeypatch.setattr("mergebench.leaderboard.reported_numbers.read_reported", lambda: sets)
    for checkpoints, told in ((stated, True), ({**stated, "family": "g"}, False), ({}, False)):
        print_board(board_of([make_result("m", (40, 45), checkpoints=checkpoints)]))
        shown = capsys.readouterr().out
        assert ("reported" in shown) is ("difference" in shown) is told
        assert (" 45.0        -2.5 " in shown) is told


def test_the_joint_model_and_tuned_rows_do_not_enter_the_agreement(make_result):
    names = "abcd"
    results = [make_result(n, (10 * i, 10 * i)) for i, n in enumerate(names, start=1)]
    results.append(make_result("j", (70, 70), role="joint"))
    record = {"trials": 2, "trial": 1, "default": 0.1, "best": 0.2, "space": {"x": [0, 1]}}
    results.append(make_result("a", (90, 90), hyperparameters={"x": 1}, tuned=record))
    (board,) = make_boards(results)
    same = Reported("x", 2, "y", {"a": 1, "b": 2, "c": 3, "d": 4, "j": 0})
    found = rank_agreement(board, same)
    assert (found.tau, found.methods) == (pytest.approx(1), tuple("dcba"))


def test_a_default_that_a_search_has_confirmed_still_stands_against_what_is_published(make_result):
    record = {"trials": 2, "trial": 0, "default": 0.1, "best": 0.1, "space": {"x": [0, 1]}}
    results = [make_result(n, (10 * i, 10 * i)) for i, n in enumerate("abc", start=1)]
    results.append(make_result("d", (90, 90), hyperparameters={"x": 1}, tuned=record))
    (board,) = make_boards(results)
    published = Reported("x", 2, "y", {"a": 1, "b": 2, "c": 3, "d": 4})
    assert rank_agreement(board, published).methods == tuple("dcba")


def test_a_reduced_precision_and_the_hub_s_commits_are_told(make_result):
    commit = "0123456789abcdef0123456789abcdef01234567"
    plain = make_result("m", (40, 45))
    reduced = plain.environment.model_copy(update={"precision": "bfloat16"})
    origins = {"base": f"openai/clip@{commit}", "experts/mnist": f"someone/clip_mnist@{commit}"}
    (told,) = make_boards([plain.model_copy(update={"environment": reduced, "origins": origins})])
    assert "Evaluated in bfloat16." in told.note
    assert "From the hub: openai/clip@0123456789ab and 1 more, whose commits stand in the results." in told.note
    assert not make_boards([plain])[0].note
