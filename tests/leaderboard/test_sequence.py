"""Backward transfer and forgetting, against an example by hand and a naive double loop."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergebench.leaderboard.sequence import transfer
from mergebench.leaderboard.series import Line, Series, make_series
from mergebench.measuring.results import Cost, Environment, Result, TaskScore


def step(correct, merged, number, order=0, seed=0, total=100, method="m", steps=3):
    """A stored result of one step; `correct` counts images of `total` for every task."""
    scores = {t: TaskScore(correct=int(c), total=total, predictions="x") for t, c in correct.items()}
    environment = Environment(device="cpu", precision="f", threads=1, platform="p", packages={}, git_commit="")
    cost = Cost(seconds=1.0, peak_bytes=None)
    return Result(
        status="ok", method=method, title="M", paper="", role="method", family="data-free", needs=[], source="s",
        hyperparameters={}, suite="sequential", zoo="z", variant=f"order={order},step={number}",
        point={"order": order, "step": number}, merged=list(merged), seed=seed, tasks=scores, weights={}, data={},
        drawn={}, merge=cost, evaluation=cost, environment=environment, started="2026-01-01",
        position=10 * order + number, steps=steps,
    )  # fmt: skip


def figures(results):
    (series,) = make_series(results)
    (line,) = series.lines
    return transfer(series, line).get("")


def example(order=0, seed=0, worse=0):
    """Tasks a, b; then c; then d. `worse` is taken from the last step's count of every task."""
    table = [
        dict(a=80, b=60, c=10, d=20),
        dict(a=90, b=50, c=70, d=20),
        dict(a=70 - worse, b=65 - worse, c=40 - worse, d=95 - worse),
    ]
    return [step(row, "abcd"[: n + 1], n, order, seed) for n, row in enumerate(table, start=1)]


def test_an_example_by_hand():
    found = figures(example())
    # a: 70 - 80, b: 65 - 60, c: 40 - 70; d arrives last and counts in neither
    assert found.backward == (pytest.approx((-0.10 + 0.05 - 0.30) / 3), None)
    # a: 90 - 70, b: 60 - 65 (the last step is not among those it is held against), c: 70 - 40
    assert found.forgetting == (pytest.approx((0.20 - 0.05 + 0.30) / 3), None)
    assert found.final == (pytest.approx((0.70 + 0.65 + 0.40 + 0.95) / 4), None)


def test_seeds_that_change_nothing_do_not_narrow_the_spread_over_orders():
    once = [*example(order=0), *example(order=1, worse=10)]
    thrice = [r for seed in range(3) for r in (*example(0, seed), *example(1, seed, worse=10))]
    for name in ("final", "backward", "forgetting"):
        assert getattr(figures(thrice), name) == pytest.approx(getattr(figures(once), name))
    assert figures([*example(seed=0), *example(seed=1, worse=10)]).final[1] == figures(once).final[1]


def test_only_tasks_that_have_arrived_enter_the_mean_after_the_last_step():
    with_a_stranger = [r.model_copy(update={"tasks": {**r.tasks, "z": r.tasks["a"]}}) for r in example()]
    assert figures(with_a_stranger) == figures(example())


@given(
    groups=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    seed=st.integers(0, 2**20),
    orders=st.integers(1, 3),
)
def test_it_is_the_naive_double_loop_over_the_accuracy_matrix(groups, seed, orders):
    rng = np.random.default_rng(seed)
    results, finals, backwards, forgettings = [], [], [], []
    for order in range(orders):
        arrives = {f"t{i}": s for i, s in enumerate(rng.permutation(np.repeat(range(len(groups)), groups)).tolist())}
        matrix = {(s, t): int(rng.integers(0, 501)) for s in range(len(groups)) for t in arrives}
        for s in range(len(groups)):
            merged = [t for t in arrives if arrives[t] <= s]
            counts = {t: matrix[s, t] for t in arrives}
            results.append(step(counts, merged, s + 1, order, total=500, steps=len(groups)))
        last, lost, gone = len(groups) - 1, [], []
        for t, arrival in arrives.items():
            if arrival == last:
                continue
            best = -1
            for s in range(len(groups)):
                if arrival <= s < last and matrix[s, t] > best:
                    best = matrix[s, t]
            lost.append((matrix[last, t] - matrix[arrival, t]) / 500)
            gone.append((best - matrix[last, t]) / 500)
        finals.append(sum(matrix[last, t] for t in arrives) / 500 / len(arrives))
        backwards.append(sum(lost) / len(lost))
        forgettings.append(sum(gone) / len(gone))
    found = figures([results[i] for i in rng.permutation(len(results))])
    for pair, naive in ((found.final, finals), (found.backward, backwards), (found.forgetting, forgettings)):
        assert pair[0] == pytest.approx(np.mean(naive), abs=1e-12)
        assert pair[1] == (None if orders == 1 else pytest.approx(np.std(naive, ddof=1), abs=1e-12))


def test_the_spread_is_over_orders_each_its_mean_over_seeds():
    found = figures([*example(0, 0), *example(0, 1, worse=20), *example(1, 0, worse=30)])
    finals = [0.675 - w / 100 for w in ((0 + 20) / 2, 30)]
    assert found.final == (pytest.approx(statistics.mean(finals)), pytest.approx(statistics.stdev(finals)))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_an_order_that_lacks_a_step_is_left_out(missing):
    broken = example(1, worse=30)
    del broken[missing]
    assert figures([*example(0), *broken]) == figures(example(0))


def test_without_a_whole_order_there_are_no_figures():
    assert figures(example()[1:]) is None
    assert figures(example()[:2]) is None  # the second is not the last
    assert figures([step(dict(a=80), "a", 1, steps=1)]) is None  # one step has nothing before it


def test_methods_do_not_mix():
    other = [r.model_copy(update={"method": "n"}) for r in example(worse=40)]
    (series,) = make_series([*example(), *other])
    found = {line.method: transfer(series, line)[""].final[0] for line in series.lines}
    assert found == {"m": pytest.approx(0.675), "n": pytest.approx(0.275)}


def test_a_study_on_a_sequence_has_figures_for_each_of_its_points():
    results = []
    for alpha, worse in ((0.1, 0), (0.9, 20)):
        for r in example(worse=worse):
            change = {"point": r.point | {"alpha": alpha}, "variant": f"{r.variant},alpha={alpha}", "study": "s"}
            results.append(r.model_copy(update=change))
    (series,) = make_series(results)
    found = transfer(series, series.lines[0])
    finals = {"alpha=0.1": pytest.approx(0.675), "alpha=0.9": pytest.approx(0.475)}
    assert {arm: figures.final[0] for arm, figures in found.items()} == finals


def test_orders_may_be_of_different_lengths():
    short = [step(dict(a=50, b=50), "a", 1, 1, steps=2), step(dict(a=30, b=70), "ab", 2, 1, steps=2)]
    found = figures([*example(0), *short])
    assert found.final == (pytest.approx((0.675 + 0.5) / 2), pytest.approx(abs(0.675 - 0.5) / 2**0.5))


def test_points_that_are_no_steps_are_passed_over():
    # The suite of this name once had other variants, whose results are still in the folder.
    other = step(dict(a=1, b=1), "ab", 1).model_copy(update={"point": {"tasks": 2}, "variant": "tasks=2"})
    assert figures([*example(), other]) == figures(example())


def test_where_none_of_the_earlier_tasks_is_evaluated_there_is_nothing_to_forget():
    # A suite may evaluate only what arrives last; that must not take the whole leaderboard down.
    table = [step({"d": 50}, "abcd"[: n + 1], n) for n in (1, 2, 3)]
    found = figures(table)
    assert found is None or found.final[0] == pytest.approx(0.5)


def test_a_line_without_results_has_no_figures():
    (series,) = make_series(example())
    empty = Line("n", "N", "method", {}, {m: {} for m in series.metrics}, {})
    whole = Series(series.suite, series.study, series.zoo, series.points, series.metrics, (*series.lines, empty))
    assert transfer(whole, empty) == {}
