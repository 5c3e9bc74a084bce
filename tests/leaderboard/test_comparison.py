"""Two rows against each other: what is compared, what is told, and what cannot be."""

import numpy as np
import pytest

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.comparison import compare
from mergebench.leaderboard.comparison_output import draw_comparison, print_comparison, sentences
from mergebench.leaderboard.selection import only_board, pick


def right(count, of=100, start=0):
    """`count` images right, from one on."""
    hits = np.zeros(of, dtype=bool)
    hits[start : start + count] = True
    return hits


@pytest.fixture
def rows(make_proven):
    def make(*results):
        board = only_board(make_boards(results))
        return {row.method: row for row in board.rows}

    return make


def test_every_task_has_its_counts_its_difference_and_its_exact_test(rows, make_proven):
    found = rows(
        make_proven("ours", right(60), right(50)), make_proven("theirs", right(40, start=10), right(50, start=2))
    )
    comparison = compare(found["ours"], found["theirs"])
    first, second = comparison.tasks["a"], comparison.tasks["b"]
    assert (first.only_ours, first.only_theirs) == (20, 0) and first.p == pytest.approx(2 * 0.5**20)
    assert (first.ours, first.theirs, first.difference) == pytest.approx((0.6, 0.4, 0.2))
    assert (second.only_ours, second.only_theirs, second.p) == (2, 2, 1.0)
    assert (first.corrected, second.corrected) == pytest.approx((2 * first.p, 1.0))  # Holm over two tasks
    assert comparison.average.difference == pytest.approx(0.1)
    low, high = comparison.average.interval
    assert low < 0.1 < high and (low + high) / 2 == pytest.approx(0.1, abs=0.01)
    assert (comparison.average.only_ours, comparison.average.only_theirs) == (22, 2)


def test_of_several_seeds_their_mean_is_compared_and_the_first_is_counted(rows, make_proven):
    ours = [make_proven("ours", right(n), right(50), seed=s) for s, n in ((1, 40), (0, 60), (2, 53))]
    theirs = [make_proven("theirs", right(n), right(50), seed=s) for s, n in ((0, 50), (1, 33), (2, 40))]
    found = rows(*ours, *theirs)
    comparison = compare(found["ours"], found["theirs"])
    assert comparison.tasks["a"].difference == pytest.approx((51 - 41) / 100)
    assert (comparison.tasks["a"].only_ours, comparison.tasks["a"].only_theirs) == (10, 0)  # seed 0: 60 and 50
    alone = compare(*(rows(ours[1], theirs[0])[name] for name in ("ours", "theirs")))
    assert comparison.average.interval[1] - comparison.average.interval[0] > 0
    assert comparison.average.p != alone.average.p
    assert "over test images and seeds" in sentences(comparison, "a", "b")[1]


def test_other_seeds_are_told(rows, make_proven):
    found = rows(
        make_proven("ours", right(60), right(50)),
        *(make_proven("theirs", right(40), right(50), seed=s) for s in (0, 1)),
    )
    told = sentences(compare(found["ours"], found["theirs"]), "a", "b")[1]
    assert "Seeds are not the same (0 and 0, 1), and not paired." in told


def test_what_is_the_same_is_not_told_apart(rows, make_proven):
    found = rows(make_proven("ours", right(60), right(50)), make_proven("theirs", right(60), right(50)))
    comparison = compare(found["ours"], found["theirs"])
    assert comparison.average.p == 1 and comparison.average.interval == (0, 0)
    assert sentences(comparison, "A", "B")[0].startswith("The averages of A and B cannot be told apart (p 1.000)")


def test_without_predictions_there_is_nothing_to_compare(rows, make_proven, make_result):
    found = rows(make_proven("ours", right(60), right(50)), make_result("theirs", (40, 40)))
    with pytest.raises(MergebenchError, match="Theirs is stored without predictions"):
        compare(found["ours"], found["theirs"])
    other = rows(make_proven("theirs", right(40), right(40, of=90)))
    with pytest.raises(MergebenchError, match="not evaluated on the same images"):
        compare(found["ours"], other["theirs"])


def test_the_table_and_the_picture_show_every_task_and_other_peoples_names_as_text(rows, make_proven, capsys):
    found = rows(make_proven("ours", right(60), right(50)), make_proven("theirs", right(40), right(50)))
    comparison = compare(found["ours"], found["theirs"])
    hostile = "[red]$x_1$\x1b[31m"
    print_comparison(comparison, hostile, "theirs", "two, zoo z")
    out = capsys.readouterr().out
    assert "[red]$x_1$" in out and "\x1b" not in out
    assert [line.split()[0] for line in out.splitlines() if line.strip()[:2] in ("a ", "b ", "av")] == [
        "a",
        "b",
        "average",
    ]
    figure = draw_comparison(comparison, hostile, "theirs", "two, zoo z")
    figure.canvas.draw()
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["a", "b", "average"]


def test_a_row_is_named_by_its_method_and_where_there_are_several_by_their_settings(make_proven):
    board = only_board(
        make_boards(
            make_proven(m, right(n), right(50), hyperparameters={"scaling": v, "fused": n > 40})
            for m, n, v in (("ties", 40, 0.5), ("ties", 60, 1), ("dare", 50, 0.5))
        )
    )
    assert pick(board, "dare").method == "dare"
    assert pick(board, "ties:scaling=0.50").tasks["a"] == 0.4
    assert pick(board, "ties:scaling=1").tasks["a"] == pick(board, "ties:fused=true").tasks["a"] == 0.6
    for text, said in (
        ("tie", "unknown method on this board: 'tie'; did you mean 'ties'"),
        ("ties", "several rows; say which by settings, as ties:NAME=VALUE; there are: Ties (scaling=1"),
        ("ties:scaling=3", "no row has these settings"),
        ("ties:scaling", "no row has these settings"),
        ("dare:nosuch=1", "no row has these settings"),
        ("dare:nosuch=None", "no row has these settings"),
    ):
        with pytest.raises(MergebenchError, match=said.replace("(", r"\(")):
            pick(board, text)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("m:weights=null", None),
        ("m:weights=[0.3, 0.7]", [0.3, 0.7]),
        ("m:weights=[0.3,0.7],n=2", [0.3, 0.7]),
        ("m:n=2, weights=[1, 0]", [1, 0]),
        ("m:weights=a,b", "a,b"),
    ],
)
def test_settings_are_written_as_yaml_writes_them_lists_too(make_proven, text, weights):
    values = (None, [0.3, 0.7], [1, 0], "a,b")
    made = (make_proven("m", right(40), right(50), hyperparameters={"weights": v, "n": 2}) for v in values)
    assert pick(only_board(make_boards(made)), text).hyperparameters["weights"] == weights


def test_of_tasks_of_one_image_nothing_is_told(make_proven):
    board = only_board(
        make_boards(make_proven(m, np.array([hit]), np.array([True])) for m, hit in (("a", 1), ("b", 0)))
    )
    comparison = compare(*(pick(board, name) for name in "ab"))
    assert comparison.average.p == comparison.tasks["a"].p == 1
    assert comparison.tasks["a"].interval == (-1, 1) and comparison.tasks["b"].interval == (0, 0)


def test_of_several_boards_one_has_to_be_named(make_result):
    boards = make_boards([make_result("m", (1, 2)), make_result("m", (1, 2), zoo="other")])
    with pytest.raises(MergebenchError, match="there are: two, zoo other; two, zoo z"):
        only_board(boards)
    with pytest.raises(MergebenchError, match="no results that make a board"):
        only_board([])
