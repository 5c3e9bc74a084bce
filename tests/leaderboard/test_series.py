"""Series: which results belong together, where references stand, what is averaged and what validation chooses."""

import pytest

from mergebench.leaderboard.series import across, chosen, make_series
from mergebench.leaderboard.statistics import average_interval, seed_interval
from mergebench.leaderboard.tables.choosing import Wishes
from mergebench.leaderboard.tables.several import scale

LATER = "2026-02-01T00:00:00+00:00"


def one(results):
    (series,) = make_series(results)
    return series


def line(series, method):
    (found,) = [x for x in series.lines if x.method == method]
    return found


def means(series, method, metric="all tasks"):
    return {v: pytest.approx(s.mean) for v, s in line(series, method).scores[metric].items()}


def test_results_without_a_point_and_failed_ones_make_no_series(make_result, at):
    assert make_series([make_result("m", (1, 1)), at("m", (1, 1), {"tasks": 2}, status="failed")]) == []


def test_a_study_of_which_only_references_are_there_is_not_shown_yet(make_result, at):
    references = [make_result("finetuned", (80, 90), role="ceiling", study="s")]
    assert make_series(references) == []
    series = one([*references, at("m", (1, 1), {"alpha": 0.1}, study="s")])
    assert (series.name, series.suite, series.axes) == ("s", "two", ("alpha",))


def test_suites_studies_and_zoos_are_apart(at):
    point = {"alpha": 1}
    told = [dict(study="s"), dict(study="t"), dict(study="s", zoo="y"), dict(study="s", suite="u"), {}, {}]
    found = make_series([at(f"m{i}", (i, i), point, **facts) for i, facts in enumerate(told)])
    assert {(s.suite, s.study, s.zoo): [x.method for x in s.lines] for s in found} == {
        ("two", "s", "z"): ["m0"],
        ("two", "t", "z"): ["m1"],
        ("two", "s", "y"): ["m2"],
        ("u", "s", "z"): ["m3"],
        ("two", "", "z"): ["m5", "m4"],
    }


@pytest.mark.parametrize("turn", [1, -1])
def test_the_newest_measurement_of_a_cell_counts(at, turn):
    old = at("m", (10, 10), {"tasks": 2}, source="before")
    new = at("m", (60, 70), {"tasks": 2}, source="after", started=LATER)
    assert means(one([old, new][::turn]), "m") == {"tasks=2": 0.65}


@pytest.mark.parametrize("fact", ["weights", "data"])
def test_results_on_other_weights_or_images_than_the_newest_are_dropped(at, fact):
    other = {fact: "other"} if fact == "weights" else {fact: {"a/test": "other"}}
    results = [at("old", (90, 90), {"tasks": 2}, **other), at("new", (60, 60), {"tasks": 2}, started=LATER)]
    assert [x.method for x in one(results).lines] == ["new"]


def test_results_under_other_conditions_than_the_newest_of_their_variant_are_dropped(at):
    # A suite's file was changed, and one method was run again: same weights, same images, another experiment.
    told = [("old", "late", "2026-01-01"), ("new", "early", LATER)]
    results = [at(m, (60, 60), {"tasks": 2}, conditions={"restrict": {"blocks": r}}, started=t) for m, r, t in told]
    assert [x.method for x in one(results).lines] == ["new"]


def test_seeds_from_before_and_after_a_change_of_code_are_not_averaged(at):
    told = [(0, 10, "before", "2026-01-01"), (1, 20, "before", "2026-01-01"), (0, 60, "after", LATER)]
    results = [at("m", (c, c), {"tasks": 2}, seed=s, source=code, started=t) for s, c, code, t in told]
    assert dict(line(one(results), "m").scores["all tasks"]["tasks=2"].seeds) == {0: 0.6}


def test_variants_may_have_images_of_their_own(at):
    results = [at("m", (10 * n, 10 * n), {"tasks": n}, data={"a/test": f"of {n}"}, position=n) for n in (1, 2)]
    assert means(one(results), "m") == {"tasks=1": 0.1, "tasks=2": 0.2}


def test_points_measured_on_an_older_base_do_not_stand_beside_newer_ones(at):
    # The zoo was built anew and only one point was run again: the other one is of another experiment.
    results = [at("m", (90, 90), {"alpha": a}, study="s", weights="old") for a in (0.1, 0.9)]
    results.append(at("m", (60, 60), {"alpha": 0.1}, study="s", weights="new", started=LATER))
    assert means(one(results), "m") == {"alpha=0.1": 0.6}


def test_other_settings_make_a_line_of_their_own_and_varied_ones_do_not(at):
    results = [
        at("m", (10, 10), {"alpha": a}, study="s", hyperparameters={"alpha": a, "samples": n}, varied=["alpha"])
        for a in (0.1, 0.9)
        for n in (8, 16)
    ]
    series = one(results)
    assert sorted(x.settings["samples"] for x in series.lines) == [8, 16]
    assert all(list(x.settings) == ["samples"] and len(x.results) == 2 for x in series.lines)


def test_references_measured_once_serve_every_point_of_a_study(make_result, at):
    plain = dict(study="s", merged=["a", "b"])
    results = [at("m", (n, n), {"samples": n}, study="s", position=n) for n in (1, 2, 4)]
    series = one([make_result("pretrained", (30, 50), role="floor", **plain), *results])
    assert means(series, "pretrained") == {f"samples={n}": 0.4 for n in (1, 2, 4)}
    assert list(series.points) == ["samples=1", "samples=2", "samples=4"]


def test_a_reference_serves_only_the_points_of_its_own_variant(at):
    floor = [at("pretrained", (10 * n, 10 * n), {"tasks": n}, role="floor", study="s") for n in (2, 4)]
    ours = [at("m", (50, 50), {"tasks": n, "restrict.blocks": [b]}, study="s") for n in (2, 4) for b in (0, 1)]
    found = means(one(floor + ours), "pretrained")
    assert found == {f"tasks={n},restrict.blocks={b}": n / 10 for n in (2, 4) for b in (0, 1)}


def test_a_method_without_a_point_has_nothing_there(at):
    results = [at("m", (1, 1), {"arm": "x"}, study="s"), at("n", (2, 2), {"arm": "y"}, study="s", position=1)]
    series = one(results)
    assert means(series, "m") == {"arm=x": 0.01} and means(series, "n") == {"arm=y": 0.02}
    # Only references serve for points beside their own, however near these are.
    wider = one([*results, at("o", (3, 3), {"arm": "x", "alpha": 1}, study="s", position=2)])
    assert means(wider, "m") == {"arm=x": 0.01}


def test_points_stand_in_the_order_of_their_positions(at):
    results = [at("m", (1, 1), {"tasks": n}, position=p) for p, n in [(3, 8), (0, 20), (2, 4), (1, 2)]]
    assert [p["tasks"] for p in one(results).points.values()] == [20, 2, 4, 8]


def test_references_come_first_and_methods_by_their_mean(at):
    told = [("low", 10, "method"), ("high", 70, "method"), ("floor", 5, "floor"), ("ceiling", 90, "ceiling")]
    results = [at(m, (c, c + i), {"tasks": i}, role=r) for m, c, r in told for i in (1, 2)]
    assert [x.method for x in one(results).lines] == ["ceiling", "floor", "high", "low"]


def test_of_held_out_tasks_the_merged_and_the_others_are_told_apart(at):
    results = [
        at("m", (80, 20), {"held_out": "b"}, merged=["a"]),
        at("m", (30, 60), {"held_out": "a"}, merged=["b"], position=1),
    ]
    series = one(results)
    assert series.metrics == ("merged tasks", "tasks not merged", "all tasks")
    assert means(series, "m", "merged tasks") == {"held_out=b": 0.8, "held_out=a": 0.6}
    assert means(series, "m", "tasks not merged") == {"held_out=b": 0.2, "held_out=a": 0.3}
    assert means(series, "m") == {"held_out=b": 0.5, "held_out=a": 0.45}


def test_where_all_tasks_are_merged_there_is_one_metric(at):
    # The ceiling's own `merged` must not matter: it is no merge.
    floor = at("pretrained", (1, 1), {"tasks": 2}, role="floor", merged=[])
    assert one([at("m", (1, 1), {"tasks": 2}), floor]).metrics == ("all tasks",)


def test_a_metric_that_no_result_has_is_left_out(at):
    # Evaluated on tasks none of which is merged: there is no average over the merged ones.
    series = one([at("m", (10, 30), {"corruption": "clean"}, merged=["c"])])
    assert "merged tasks" not in series.metrics
    assert means(series, "m", series.metrics[0]) == {"corruption=clean": 0.2}


def test_one_seed_has_the_interval_of_its_images_several_that_of_seeds(at):
    alone = line(one([at("m", (40, 80), {"tasks": 2})]), "m").scores["all tasks"]["tasks=2"]
    assert alone.interval == pytest.approx(average_interval([40, 80], [100, 100]))
    results = [at("m", (c, c), {"tasks": 2}, seed=s) for s, c in enumerate((40, 50, 80))]
    several = line(one(results), "m").scores["all tasks"]["tasks=2"]
    assert several.seeds == {0: 0.4, 1: 0.5, 2: 0.8}
    assert several.interval == pytest.approx(seed_interval([0.4, 0.5, 0.8]))
    assert several.mean == pytest.approx((0.4 + 0.5 + 0.8) / 3)


def test_where_seeds_change_nothing_the_interval_is_that_of_the_images(at):
    same = [at("m", (40, 80), {"tasks": 2}, seed=s) for s in range(3)]
    score = line(one(same), "m").scores["all tasks"]["tasks=2"]
    assert score.interval == pytest.approx(average_interval([40, 80], [100, 100])) and not score.over_seeds


def test_the_best_point_is_chosen_on_validation_and_never_on_test(at, counts):
    told = [(0.1, 90, 10), (0.5, 10, 60), (0.9, 50, 59)]  # alpha, test, validation
    results = [
        at("m", (t, t), {"alpha": a}, study="s", validation=counts(a=v, b=v), position=i)
        for i, (a, t, v) in enumerate(told)
    ]
    series = one(results)
    assert series.metrics == ("all tasks", "validation")
    assert chosen(series, line(series, "m")) == {"": "alpha=0.5"}


def test_validation_chooses_by_the_mean_over_seeds(at, counts):
    told = [(0.1, 0, 99), (0.1, 1, 1), (0.5, 0, 60), (0.5, 1, 60)]
    results = [at("m", (5, 5), {"alpha": a}, study="s", seed=s, validation=counts(a=v, b=v)) for a, s, v in told]
    series = one(results)
    assert chosen(series, line(series, "m")) == {"": "alpha=0.5"}


def test_a_studys_point_is_chosen_for_each_of_the_suites_variants(at, counts):
    told = {(2, 0.1): 90, (2, 0.5): 80, (4, 0.1): 30, (4, 0.5): 40}  # the easier suite must not be what is chosen
    results = [
        at("m", (5, 5), {"tasks": n, "alpha": a}, study="s", validation=counts(a=v, b=v)) for (n, a), v in told.items()
    ]
    series = one(results)
    found = chosen(series, line(series, "m"))
    assert found == {"tasks=2": "tasks=2,alpha=0.1", "tasks=4": "tasks=4,alpha=0.5"}


def test_nothing_is_chosen_without_validation_nor_where_all_points_are_the_same(at, counts):
    points = [{"alpha": a} for a in (0.1, 0.5)]
    same = [at("m", (i, i), p, study="s", validation=counts(a=50, b=50)) for i, p in enumerate(points)]
    for results in ([at("m", (9, 9), p, study="s") for p in points], same):
        series = one(results)
        assert chosen(series, line(series, "m")) == {}


def test_a_line_that_lacks_a_point_has_no_mean_over_it_and_stands_last(at):
    points = [(k, n) for k in "xy" for n in (1, 2)]
    whole = [at("m", (10, 10), {"kind": k, "n": n}, position=i) for i, (k, n) in enumerate(points)]
    part = [at("p", (90, 90), {"kind": "x", "n": n}, position=n) for n in (1, 2)]  # the easier kind alone
    series = one(whole + part)
    assert across(series, line(series, "p"), "all tasks", "kind") == {"x": pytest.approx(0.9)}
    assert across(series, line(series, "p"), "all tasks", "n") == {}
    assert [x.method for x in series.lines] == ["m", "p"]


def test_across_an_axis_is_the_plain_mean_over_the_others(at):
    correct = {("x", 1): 10, ("x", 2): 30, ("y", 1): 50, ("y", 2): 60, ("y", 3): 70}
    series = one(
        [at("m", (c, c), {"kind": k, "severity": s}, position=i) for i, ((k, s), c) in enumerate(correct.items())]
    )
    found = line(series, "m")
    for place, axis in enumerate(("kind", "severity")):
        naive = {}
        for key, c in correct.items():
            naive.setdefault(key[place], []).append(c / 100)
        assert across(series, found, "all tasks", axis) == {k: pytest.approx(sum(v) / len(v)) for k, v in naive.items()}


def test_a_value_that_is_a_list_is_told_as_text(at):
    results = [at("m", (b, b), {"restrict.blocks": blocks}, study="s") for b, blocks in [(1, [0]), (2, [1, 2])]]
    series = one(results)
    assert list(across(series, line(series, "m"), "all tasks", "restrict.blocks")) == ["0", "1+2"]


def test_settings_that_somebody_gave_are_told_and_kept_from_the_tracks(at):
    results = [at("m", (9 + n, 9), {"tasks": n}, hyperparameters={"a": 1}, position=n) for n in (2, 4)]
    results += [at("m", (8, 9), {"tasks": n}, hyperparameters={"a": 5}, given={"a": 1}, position=n) for n in (2, 4)]
    (series,) = make_series(results)
    assert sorted(series.labels) == ["M (a=1)", "M (a=5)"]
    assert any("With settings given by hand" in note and "M (a=5, published 1)" in note for note in series.notes)
    shown = {track: [row.label for row in scale(series, Wishes(track=track)).rows] for track in ("published", "given")}
    assert shown == {"published": ["M"], "given": ["M (a=5)"]}
    best = {row.label: {c.mark for c in row.cells} for row in scale(series, Wishes()).rows}
    assert "best" not in best["M (a=5)"]
