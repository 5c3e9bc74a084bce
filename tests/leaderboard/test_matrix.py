"""The experts x tasks matrix, from results of experts merged alone to table and picture."""

import re

import pytest

from mergebench.leaderboard.matrix import matrices
from mergebench.leaderboard.plot import draw, inline_svg
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.series_table import tables


@pytest.fixture
def results(at):
    """Expert a keeps 80 and 10 of a and b, expert b 20 and 90; a reference beside them."""
    counts = {"a": (80, 10), "b": (20, 90)}
    made = [at("mean", c, {"expert": e}, merged=[e]) for e, c in counts.items()]
    return made + [at("base", (30, 30), {"expert": e}, role="floor", merged=[e]) for e in counts]


def test_rows_are_experts_and_columns_tasks(results):
    (series,) = make_series(results)
    ((place, matrix),) = matrices(series).items()
    assert series.lines[place].method == "mean"
    assert matrix == {"a": {"a": 0.8, "b": 0.1}, "b": {"a": 0.2, "b": 0.9}}
    first = tables(series)[0]
    assert first.title == "Every expert on every task (Mean of one expert)"
    assert (first.header, first.rows) == (("expert of", "a", "b"), (("a", "80.0", "10.0"), ("b", "20.0", "90.0")))


def test_seeds_are_averaged_and_what_is_missing_has_no_row(at):
    made = [at("mean", (c, 10), {"expert": "a"}, merged=["a"], seed=s) for s, c in enumerate((60, 80))]
    made.append(at("other", (1, 2), {"expert": "b"}, merged=["b"]))
    (series,) = make_series(made)
    found = {series.lines[place].method: matrix for place, matrix in matrices(series).items()}
    assert found == {"mean": {"a": {"a": 0.7, "b": 0.1}}, "other": {"b": {"a": 0.01, "b": 0.02}}}


def test_the_picture_has_the_numbers_in_it(results):
    (series,) = make_series(results)
    text = inline_svg(draw(series))
    assert {"80", "10", "20", "90"} <= set(re.findall(r">(\d+)<", text))


def test_other_series_have_no_matrix(at):
    (series,) = make_series([at("mean", (1, 2), {"tasks": 1}), at("mean", (3, 4), {"tasks": 2})])
    assert matrices(series) == {}


def test_a_task_that_some_rows_lack_is_a_dash_there(at, counts):
    made = [at("mean", (1, 2), {"expert": "a"}, merged=["a"], tasks=counts(a=50))]
    made.append(at("mean", (1, 2), {"expert": "b"}, merged=["b"], tasks=counts(a=20, b=90)))
    (series,) = make_series(made)
    assert tables(series)[0].rows == (("a", "50.0", "-"), ("b", "20.0", "90.0"))
    assert ">-<" in inline_svg(draw(series)).replace("\n", "")


def test_two_settings_of_one_method_are_told_apart(at):
    made = [at("mean", (1, 2), {"expert": "a"}, merged=["a"], hyperparameters={"s": s}) for s in (1, 2)]
    (series,) = make_series(made)
    assert [t.title for t in tables(series)[:2]] == [
        f"Every expert on every task (Mean (s={s}) of one expert)" for s in (1, 2)
    ]
