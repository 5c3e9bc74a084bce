"""Results of other code: kept and told where they stand beside newer ones, parted where they are one method's."""

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.series import make_series
from mergebench.measuring.results import Result

LATER = "2026-02-01T00:00:00+00:00"


def methods(board):
    return {row.method: row.seeds for row in board.rows}


def test_methods_that_another_engine_measured_stay_and_are_told(make_result):
    old = [make_result("m", (80, 80)), make_result("n", (70, 70))]  # from before results told of the engine
    assert not make_boards(old)[0].note
    (board,) = make_boards([*old, make_result("m", (81, 81), started=LATER, source="t", engine="e")])
    assert [(row.method, row.average) for row in board.rows] == [("m", 0.81), ("n", 0.7)]
    assert board.note == "Measured by other code than the newest: N; a run measures them anew."


def test_so_are_those_of_another_code_of_the_encoder(make_result):
    def of(encoder, **more):
        return {"conditions": {"zoo": {"encoder": "m:f", "encoder_source": encoder}}, **more}

    old = [make_result("m", (80, 80), **of("a")), make_result("n", (70, 70), **of("a"))]
    (board,) = make_boards([*old, make_result("m", (81, 81), seed=1, **of("b", started=LATER))])
    assert methods(board) == {"m": (1,), "n": (0,)}
    assert board.note == "Measured by other code than the newest: N; a run measures them anew."
    (board,) = make_boards([*old, make_result("m", (81, 81), **of("a", started=LATER) | {"conditions": {"zoo": {}}})])
    assert methods(board) == {"m": (0,)}  # another encoder, by name


def test_so_are_they_in_a_series(at):
    (series,) = make_series([at("m", (80, 80), {"x": 1}), at("n", (70, 70), {"x": 1}, started=LATER, engine="e")])
    assert "Measured by other code than the newest: M; a run measures them anew." in series.notes


def test_a_method_s_seeds_are_of_one_code_and_of_one_code_of_what_it_starts_from(make_result):
    def started(seed, code, started="2026-01-01T00:00:00+00:00", start="n"):
        return make_result("m", (80, 80), seed=seed, started=started, starts={start: code})

    (board,) = make_boards([started(0, "a"), started(1, "b", LATER)])
    assert methods(board) == {"m": (1,)}
    (board,) = make_boards([started(0, "a"), started(1, "b", LATER, start="o")])  # from two methods, each of one code
    assert methods(board) == {"m": (0, 1)}


def test_what_started_from_a_method_s_old_code_leaves_the_board_with_it(make_result):
    old, new = make_result("n", (70, 70), source="a"), make_result("n", (75, 75), source="b", started=LATER)
    from_old = make_result("m", (80, 80), starts={"n": "a"})
    assert methods(make_boards([old, from_old])[0]) == {"m": (0,), "n": (0,)}
    assert methods(make_boards([old, from_old, new])[0]) == {"n": (0,)}
    from_new = make_result("m", (80, 80), starts={"n": "b"}, started=LATER)
    assert methods(make_boards([old, from_new])[0]) == {"m": (0,), "n": (0,)}


def test_a_result_stored_before_there_were_these_fields_is_read(make_result):
    stored = make_result("m", (80, 80)).model_dump(exclude={"starts", "engine"}, mode="json")
    read = Result.model_validate(stored)
    assert (read.engine, read.starts, read.code) == ("", {}, {"m": "s"})
