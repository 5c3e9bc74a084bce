"""Variants: what a suite and a study expand to, how variants are named and chosen, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergebench.catalogue import registry
from mergebench.configuration import CalibrationConfig, RestrictConfig, StudyConfig, SuiteConfig
from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.suites.variant import Variant, select, study_variants, suite_variants

CLIP = {"mnist": "digits", "svhn": "numbers", "dtd": "textures", "sun397": "scenes"}
OWN = tuple(CLIP.values())
ONE = [Variant(("digits",), ("digits",))]


def find(name):
    """A task's name, as a zoo finds it."""
    if name in OWN:
        return name
    if name not in CLIP:
        raise UnknownNameError("task of zoo 'z':", name, [*OWN, *CLIP])
    return CLIP[name]


def suite(merge=OWN, **fields):
    return suite_variants(SuiteConfig(title="t", zoo="z", merge=list(merge), **fields), merge, find)


def study(variants=ONE, blocks=3, **fields):
    return study_variants(StudyConfig(title="t", suite="s", methods=["m"], **fields), variants, blocks)


def refused(make, *arguments, **fields):
    """What a refusal says: one line."""
    with pytest.raises(MergebenchError) as caught:
        make(*arguments, **fields)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_suite_without_axes_is_one_nameless_variant():
    calibration, restrict = CalibrationConfig(source="shuffled"), RestrictConfig(blocks="late")
    (only,) = suite(calibration=calibration, restrict=restrict)
    assert only == Variant(OWN, OWN, calibration=calibration, restrict=restrict)
    assert (only.name, only.merged, only.previous, only.corruption) == ("", OWN, None, None)


def test_experts_alone_are_merged_one_at_a_time_and_evaluated_on_all():
    found = suite(["digits", "numbers"], evaluate=["scenes", "digits"], alone=True)
    assert [(v.merge, v.evaluate, v.name) for v in found] == [
        (("digits",), ("scenes", "digits"), "expert=digits"),
        (("numbers",), ("scenes", "digits"), "expert=numbers"),
    ]
    with pytest.raises(ValueError, match="prefixes and alone cannot be in one suite"):
        suite(alone=True, prefixes=[1])


def test_what_is_evaluated_may_differ_from_what_is_merged():
    (only,) = suite(["digits", "numbers"], evaluate=["scenes"])
    assert (only.merge, only.evaluate) == (("digits", "numbers"), ("scenes",))


@given(st.permutations(list(CLIP)), st.lists(st.booleans(), min_size=4, max_size=4))
def test_clip_names_and_own_names_mean_the_same(order, own):
    mixed = [CLIP[t] if o else t for t, o in zip(order, own, strict=True)]
    for extra in ({}, {"evaluate": mixed[:1]}, {"held_out": [mixed[1:3]]}, {"orders": {"a": [mixed[:1], mixed[1:]]}}):
        found = suite(mixed, **extra)
        assert all(set(v.merge) | set(v.evaluate) <= set(OWN) for v in found)
        assert [v.merge for v in found] == [v.merge for v in suite(list(map(find, mixed)), **extra)]


def test_prefixes_are_the_first_tasks_merged_and_evaluated():
    found = suite(prefixes=[3, 1, 4])
    assert [v.name for v in found] == ["tasks=3", "tasks=1", "tasks=4"]
    assert [v.merge for v in found] == [OWN[:3], OWN[:1], OWN]
    assert all(v.evaluate == v.merge for v in found)


def test_held_out_tasks_are_evaluated_and_not_merged():
    found = suite(held_out=[["mnist", "textures"], ["sun397"]])
    assert [v.name for v in found] == ["held_out=digits+textures", "held_out=scenes"]
    assert [v.merge for v in found] == [("numbers", "scenes"), ("digits", "numbers", "textures")]
    assert all(v.evaluate == OWN for v in found)


def test_corruptions_are_clean_first_then_every_kind_at_every_severity():
    kinds = list(registry.corruptions())[:2]
    found = suite(corruptions={"kinds": kinds, "severities": [5, 1]})
    assert [v.corruption for v in found] == [None, *((k, s) for k in kinds for s in (5, 1))]
    assert [v.name for v in found] == [
        "corruption=clean,severity=0",
        *(f"corruption={k},severity={s}" for k in kinds for s in (5, 1)),
    ]
    assert all((v.merge, v.evaluate) == (OWN, OWN) for v in found)


def test_orders_start_afresh_and_steps_follow_one_another():
    orders = {0: [["mnist"], ["scenes", "svhn"], ["dtd"]], "back": [["dtd"], ["mnist"]]}
    found = suite(orders=orders)
    assert [v.name for v in found] == [
        *("order=0,step=1", "order=0,step=2", "order=0,step=3"),
        *("order=back,step=1", "order=back,step=2"),
    ]
    groups = ["digits"], ["scenes", "numbers"], ["textures"], ["textures"], ["digits"]
    assert [v.merge for v in found] == [tuple(g) for g in groups]
    assert [v.previous for v in found] == [None, found[0], found[1], None, found[3]]
    assert found[2].merged == ("digits", "scenes", "numbers", "textures")
    assert found[4].merged == ("textures", "digits")
    assert all(v.evaluate == OWN for v in found)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prefixes": [2, 5]}, "prefixes: 5 tasks, but merge names 4"),
        ({"orders": {"b": [["mnist"], ["dtd", "digits"]]}}, "orders: task 'digits' arrives twice in order b"),
        ({"orders": {0: [["mnist", "mnist"]]}}, "orders: task 'digits' arrives twice in order 0"),
        (
            {"merge": ["digits", "scenes"], "orders": {"a": [["mnist"], ["svhn"]]}},
            "orders: task 'numbers' of order a is not among those to be merged",
        ),
        ({"held_out": [["dtd"], [*OWN]]}, "held_out: a group holds out every task; nothing is left to merge"),
        ({"merge": ["digits", "sun379"]}, "unknown task of zoo 'z': 'sun379'; did you mean 'sun397'?"),
        ({"evaluate": ["scences"]}, "unknown task of zoo 'z': 'scences'; did you mean 'scenes'?"),
        ({"held_out": [["scences"]]}, "unknown task of zoo 'z': 'scences'; did you mean 'scenes'?"),
        ({"orders": {0: [["scences"]]}}, "unknown task of zoo 'z': 'scences'; did you mean 'scenes'?"),
        (
            {"merge": ["digits", "scenes"], "held_out": [["svhn"]]},
            "held_out: task 'numbers' is not among those merged: digits, scenes",
        ),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(fields, message):
    assert refused(suite, **fields) == message


def test_one_task_merged_under_two_names_is_refused():
    # It would be one expert, counted twice in the evaluation's mean.
    assert "'digits'" in refused(suite, ["digits", "mnist", "scenes"])


def test_an_unknown_corruption_is_named_with_the_nearest():
    message = refused(suite, corruptions={"kinds": ["contrast", "motion-blurr"], "severities": [1]})
    assert message.startswith("unknown corruption 'motion-blurr'; did you mean 'motion-blur'")


AXES = {
    "alpha": ([0.5, 1.0], lambda v: v.hyperparameters.get("alpha")),
    "steps": ([3], lambda v: v.hyperparameters.get("steps")),
    "calibration.source": (["own", "shuffled", "dtd"], lambda v: v.calibration.source),
    "calibration.classes": ([[0], [1, 2]], lambda v: v.calibration.classes),
    "calibration.corrupted": ([True, False], lambda v: v.calibration.corrupted),
    "restrict.blocks": (["early", "middle+late", [0, 2]], lambda v: v.restrict.blocks),
    "restrict.component": (["mlp", "all"], lambda v: v.restrict.component),
}


@given(st.lists(st.sampled_from(list(AXES)), min_size=1, max_size=4, unique=True))
def test_several_axes_give_every_combination_the_last_fastest(axes):
    found = study(vary={a: AXES[a][0] for a in axes})
    wanted = list(itertools.product(*(AXES[a][0] for a in axes)))
    assert [tuple(v.point[a] for a in axes) for v in found] == wanted
    assert [tuple(AXES[a][1](v) for a in axes) for v in found] == wanted
    assert len({v.name for v in found}) == len(found)
    assert all(v.reference is ONE[0] and v.merge == v.evaluate == ("digits",) for v in found)
    for variant in found:  # what is not varied stays as it is
        assert all(read(variant) == read(ONE[0]) for axis, (_, read) in AXES.items() if axis not in axes)


def test_each_stands_for_every_single_block():
    found = study(blocks=4, vary={"restrict.blocks": "each", "restrict.component": ["mlp"]})
    assert [v.restrict for v in found] == [RestrictConfig(blocks=[i], component="mlp") for i in range(4)]
    assert [v.name for v in found] == [f"restrict.blocks={i},restrict.component=mlp" for i in range(4)]


def test_what_a_study_does_not_vary_stays_as_the_suite_has_it():
    sections = {"calibration": CalibrationConfig(corrupted=True), "restrict": RestrictConfig(component="attention")}
    own = Variant(("digits",), ("digits",), **sections)
    (found,) = study([own], vary={"calibration.source": ["unrelated"], "restrict.blocks": ["late"]})
    assert found.calibration == CalibrationConfig(source="unrelated", corrupted=True)
    assert found.restrict == RestrictConfig(blocks="late", component="attention")


def test_points_are_named_arms():
    points = {
        "plain": {},
        "late": {"methods": ["a", "b"], "restrict": {"blocks": "late"}},
        "one class": {"hyperparameters": {"alpha": 0.1}, "calibration": {"classes": [3]}},
    }
    own = Variant(("digits",), ("digits",), calibration=CalibrationConfig(source="shuffled"))
    plain, late, one = study([own], points=points)
    assert [v.name for v in (plain, late, one)] == ["arm=plain", "arm=late", "arm=one class"]
    assert (plain.calibration, plain.restrict, plain.methods) == (own.calibration, own.restrict, ())
    assert (late.restrict, late.methods) == (RestrictConfig(blocks="late"), ("a", "b"))
    assert late.calibration == own.calibration
    assert one.calibration == CalibrationConfig(source="shuffled", classes=[3])
    assert one.hyperparameters == {"alpha": 0.1}


def test_a_study_of_a_suite_with_variants_crosses_the_two():
    found = study(suite(prefixes=[1, 2]), vary={"alpha": [0.1, 0.9]})
    assert [v.name for v in found] == [f"tasks={n},alpha={a}" for n in (1, 2) for a in (0.1, 0.9)]
    assert [v.reference.name for v in found] == ["tasks=1", "tasks=1", "tasks=2", "tasks=2"]


def test_the_steps_before_are_at_the_same_point():
    steps = study(suite(orders={0: [["mnist"], ["dtd"], ["svhn"]]}), vary={"restrict.blocks": ["early", "late"]})
    last = [v for v in steps if v.point["step"] == 3]
    for variant, blocks in zip(last, ("early", "late"), strict=True):
        earlier = [variant.previous, variant.previous.previous]
        assert [v.restrict.blocks for v in earlier] == [blocks] * 2
        assert all(v in steps for v in earlier)  # the very variants that are run for themselves
        assert earlier[1].previous is None


@pytest.mark.parametrize(
    ("vary", "parts"),
    [
        ({"calbration.source": ["own"]}, ("'calbration.source'", "'calibration.source'")),
        ({"restrict.componnent": ["mlp"]}, ("restrict.componnent", "'restrict.component'")),
        ({"restrict.blocks": ["late", "last"]}, ("restrict.blocks='last'", "early, middle, late")),
        ({"restrict.component": ["heads"]}, ("restrict.component='heads'", "'attention'")),
        ({"calibration.classes": [[]]}, ("calibration.classes=[]",)),
        ({"restrict.component": "each"}, ("restrict.component", "'attention'")),
        ({"alpha": []}, ("alpha",)),
    ],
)
def test_an_axis_or_a_value_that_does_not_exist_is_refused(vary, parts):
    with pytest.raises((MergebenchError, ValueError)) as caught:  # pydantic's, if already the file cannot be read
        study(vary=vary)
    assert all(part in str(caught.value) for part in parts)


CHOICE = study(suite(prefixes=[1, 2]), vary={"restrict.blocks": ["late", [0, 2]], "alpha": [0.5]})


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["1,late", "1,0+2", "2,late", "2,0+2"]),
        ({"tasks": ["2"]}, ["2,late", "2,0+2"]),
        ({"tasks": ["2", "1"]}, ["1,late", "1,0+2", "2,late", "2,0+2"]),
        ({"restrict.blocks": ["0+2"], "tasks": ["1"]}, ["1,0+2"]),
        ({"alpha": [".5"], "tasks": ["1.0"]}, ["1,late", "1,0+2"]),
    ],
)
def test_only_the_variants_with_all_the_values_are_chosen(wanted, names):
    assert [f"{v.point['tasks']},{v.name.split('blocks=')[1][:-10]}" for v in select(CHOICE, wanted)] == names


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"task": ["2"]}, "unknown axis of these variants: 'task'; did you mean 'tasks'?"),
        ({"tasks": ["3"]}, "unknown tasks '3'; there are: 1, 2"),
        ({"tasks": ["all"]}, "unknown tasks 'all'; there are: 1, 2"),
        ({"restrict.blocks": ["late", "lates"]}, "unknown restrict.blocks 'lates'; did you mean 'late'?"),
    ],
)
def test_choosing_what_is_not_there_is_refused_with_the_nearest(wanted, message):
    assert refused(select, CHOICE, wanted) == message


def test_values_that_no_variant_has_together_are_refused():
    variants = suite(corruptions={"kinds": ["contrast"], "severities": [1, 5]})
    message = refused(select, variants, {"corruption": ["contrast"], "severity": ["0"]})
    assert message == (
        "no variant has corruption=contrast and severity=0; there are: corruption=clean,severity=0; "
        "corruption=contrast,severity=1; corruption=contrast,severity=5"
    )
