"""Every shipped suite and study says what the paper's protocol says, in tasks, methods and values that exist."""

import itertools

import numpy as np
import pytest

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.yaml_files import read_study, read_suite, read_zoo
from mergebench.cli.options import wanted_variants
from mergebench.measuring.results import SUITE_AXES
from mergebench.merging import hyperparameters
from mergebench.suites.bench import Bench
from mergebench.suites.variant import select
from mergebench.tasks.tiny import RENDERED, TASKS

SUITES, STUDIES = (list(registry.config_files(kind)) for kind in ("suites", "studies"))
# The twenty CLIP tasks in the order in which the merging literature counts 8, 14 and 20 of them.
ORDER_8 = ["sun397", "stanford-cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd"]
HENDRYCKS = {
    "motion-blur", "impulse-noise", "gaussian-noise", "pixelate", "spatter", "contrast", "jpeg-compression",
}  # fmt: skip


def own_names():
    """Any of a task's names -> its own."""
    return {name: t for t, task in TASKS.items() for name in (t, task.card.stands_for)}


def merged(suite):
    """The tasks a suite merges, by their own names."""
    tasks = read_zoo(suite.zoo).tasks
    return tasks[: suite.merge] if isinstance(suite.merge, int) else [own_names()[t] for t in suite.merge]


def test_what_this_file_lists_is_what_is_shipped():
    assert {"tiny-8", "tiny-14", "tiny-20", "scale", "unseen", "sequential", "corruptions"} <= set(SUITES)
    assert {"alpha", "ridge", "samples", "region", "block", "component", "class-imbalance"} <= set(STUDIES)
    assert {"calibration-source", "dependency", "seeds"} <= set(STUDIES)


def test_no_two_things_that_describe_finds_share_a_name():
    kinds = [SUITES, STUDIES, registry.config_files("zoos"), registry.methods(), registry.tasks()]
    for one, other in itertools.combinations(map(set, kinds), 2):
        assert not one & other


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_names_only_tasks_that_the_cards_stand_for(name):
    suite = read_suite(name)
    named = list(suite.evaluate) + (suite.merge if isinstance(suite.merge, list) else [])
    named += [t for group in suite.held_out for t in group]
    named += [t for groups in suite.orders.values() for group in groups for t in group]
    assert set(named) <= set(own_names()), set(named) - set(own_names())
    assert len(merged(suite)) == (suite.merge if isinstance(suite.merge, int) else len(set(suite.merge)))


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_serves_any_zoo_that_has_the_clip_tasks(name):
    clip, tiny = Bench(name, "clip-vit-b-32").variants, Bench(name, "tiny").variants
    assert [tuple(own_names()[t] for t in v.merged) for v in clip] == [v.merged for v in tiny]
    assert [tuple(own_names()[t] for t in v.evaluate) for v in clip] == [v.evaluate for v in tiny]


@pytest.mark.parametrize("name", SUITES)
def test_a_suites_settings_are_those_of_its_methods(name):
    for method, settings in read_suite(name).hyperparameters.items():
        hyperparameters.resolve(discovery.load_function(registry.method(method)), settings)


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_of_a_study_can_be_resolved_and_reaches_a_method(name):
    study = read_study(name)
    cards = {c.name: c for c in registry.select_methods(study.methods)}
    suite = read_suite(study.suite)
    variants = Bench(None, study=name).variants
    assert set(study.hyperparameters) <= set(cards)
    for variant in variants:
        assert set(variant.methods) <= set(cards)
        reached = set()
        for card in cards.values():
            varied = {n: v for n, v in variant.hyperparameters.items() if n in card.hyperparameters}
            reached |= set(varied)
            given = suite.hyperparameters.get(card.name, {}) | study.hyperparameters.get(card.name, {}) | varied
            hyperparameters.resolve(discovery.load_function(card), given)
        assert reached == set(variant.hyperparameters)


@pytest.mark.parametrize("name", SUITES)
def test_every_variant_of_a_suite_can_be_chosen_by_only(name):
    variants = Bench(name).variants
    assert len({v.name for v in variants}) == len(variants)
    for variant in variants:
        words = [f"{axis}={value}" for axis, value in variant.point.items()]
        assert select(variants, wanted_variants(words)) == [variant]


@pytest.mark.parametrize("name", SUITES)
def test_a_suites_axes_are_known_as_such(name):
    assert all(set(v.point) <= set(SUITE_AXES) for v in Bench(name).variants)


@pytest.mark.parametrize("name", STUDIES)
def test_every_point_of_a_study_can_be_chosen_by_only(name):
    variants = Bench(None, study=name).variants
    assert len({v.name for v in variants}) == len(variants)
    for variant in variants:
        axes = {a: "+".join(map(str, v)) if isinstance(v, list) else v for a, v in variant.point.items()}
        assert select(variants, wanted_variants([f"{axis}={value}" for axis, value in axes.items()])) == [variant]


@pytest.mark.parametrize("count", [8, 14, 20])
def test_the_plain_suites_are_the_zoos_first_tasks(count):
    suite = read_suite(f"tiny-{count}")
    assert merged(suite) == read_zoo("tiny").tasks[:count] == list(TASKS)[:count]
    assert (suite.evaluate, suite.prefixes, suite.held_out, suite.orders) == ([], [], [], {})


def test_the_zoos_first_eight_stand_for_the_literatures_eight():
    assert [TASKS[t].card.stands_for for t in read_zoo("tiny").tasks[:8]] == ORDER_8


def test_scale_grows_as_the_papers_curve():
    suite = read_suite("scale")
    assert suite.prefixes == [2, 4, 8, 12, 14, 16, 18, 20]
    assert merged(suite) == list(TASKS)
    for variant, count in zip(Bench("scale").variants, suite.prefixes, strict=True):
        assert list(variant.merge) == list(variant.evaluate) == list(TASKS)[:count]


def test_the_unseen_pairs_are_the_papers():
    suite = read_suite("unseen")
    pairs = [
        ("mnist", "dtd"), ("svhn", "gtsrb"), ("resisc45", "eurosat"), ("stanford-cars", "resisc45"),
        ("sun397", "stanford-cars"),
    ]  # fmt: skip
    own = own_names()
    assert [{own[t] for t in group} for group in suite.held_out] == [{own[t] for t in pair} for pair in pairs]
    assert merged(suite) == [own[t] for t in ORDER_8]
    for variant, pair in zip(Bench("unseen").variants, pairs, strict=True):
        assert set(variant.evaluate) == {own[t] for t in ORDER_8}
        assert set(variant.merge) == {own[t] for t in ORDER_8} - {own[t] for t in pair}


# Of the paper's released scripts; every line is an order, every part a step.
ORDERS = """
pcam fer2013 oxford-iiit-pet rendered-sst2 | gtsrb fashion_mnist sun397 cifar100 | eurosat stanford-cars mnist stl10 \
| dtd oxford_flowers102 cifar10 food101 | kmnist emnist_letters svhn resisc45
cifar100 sun397 emnist_letters eurosat | resisc45 food101 oxford_flowers102 pcam \
| rendered-sst2 stanford-cars cifar10 gtsrb | mnist dtd kmnist fashion_mnist | stl10 svhn oxford-iiit-pet fer2013
eurosat rendered-sst2 sun397 fashion_mnist | food101 kmnist oxford-iiit-pet dtd \
| pcam fer2013 oxford_flowers102 mnist | resisc45 stanford-cars cifar10 stl10 | gtsrb emnist_letters svhn cifar100
emnist_letters resisc45 mnist cifar10 | fashion_mnist svhn kmnist stl10 | gtsrb eurosat sun397 pcam \
| oxford_flowers102 fer2013 oxford-iiit-pet food101 | dtd rendered-sst2 stanford-cars cifar100
gtsrb stanford-cars sun397 fashion_mnist | cifar10 emnist_letters svhn fer2013 \
| oxford-iiit-pet food101 mnist rendered-sst2 | dtd cifar100 oxford_flowers102 pcam | kmnist stl10 eurosat resisc45
"""


def test_the_sequential_orders_are_the_papers():
    suite, own = read_suite("sequential"), own_names()
    lines = ORDERS.strip().splitlines()
    expected = [[[own[t] for t in step.split()] for step in line.split("|")] for line in lines]
    assert list(suite.orders) == [0, 1, 2, 3, 4]
    assert [[[own[t] for t in step] for step in steps] for steps in suite.orders.values()] == expected
    for steps in expected:
        assert [len(step) for step in steps] == [4] * 5
        assert sorted(sum(steps, [])) == sorted(TASKS) == sorted(merged(suite))


def test_every_step_of_a_sequence_is_evaluated_on_all_twenty():
    variants = Bench("sequential").variants
    assert [(v.point["order"], v.point["step"]) for v in variants] == [(o, s) for o in range(5) for s in range(1, 6)]
    assert all(sorted(v.evaluate) == sorted(TASKS) for v in variants)
    assert all(len(v.merge) == 4 and len(v.merged) == 4 * v.point["step"] for v in variants)


@pytest.mark.parametrize(("name", "seen"), [("corruptions", False), ("corruptions-seen", True)])
def test_corruptions_are_seven_at_five_severities_on_four_tasks(name, seen):
    suite, own = read_suite(name), own_names()
    assert set(suite.corruptions.kinds) == HENDRYCKS <= set(registry.corruptions())
    assert suite.corruptions.severities == [1, 2, 3, 4, 5]
    assert merged(suite) == [own[t] for t in ("stanford-cars", "eurosat", "resisc45", "gtsrb")]
    assert suite.calibration.corrupted is seen
    assert len(Bench(name).variants) == 1 + 7 * 5


def test_the_grid_of_alpha_is_a_tenth_to_one_in_steps_of_a_twentieth():
    study = read_study("alpha")
    assert list(study.vary) == ["alpha"] and study.choose_on_validation
    assert study.vary["alpha"] == pytest.approx([n / 100 for n in range(10, 101, 5)])
    assert len(study.vary["alpha"]) == 19


def test_samples_double_up_to_all_that_a_task_has():
    values = read_study("samples").vary["samples"]
    assert values[:-1] == [2**n for n in range(10)]
    suite = read_suite(read_study("samples").suite)
    assert {values[-1]} == {TASKS[t].card.splits["calibration"] for t in merged(suite)}


def test_regions_partition_the_encoder_and_each_block_has_a_point():
    early, middle, late, both, whole = Bench(None, study="region").variants
    assert [v.point["restrict.blocks"] for v in (early, middle, late, both, whole)] == [
        "early", "middle", "late", "middle+late", "all",
    ]  # fmt: skip
    bench = Bench(None, study="block")
    depth = len(bench.layout.blocks)
    assert [v.restrict.blocks for v in bench.variants] == [[i] for i in range(depth)]


def test_images_of_one_class_are_enough_in_every_task():
    study = read_study("class-imbalance")
    needed = max(settings["samples"] for settings in study.hyperparameters.values())
    assert {s["samples"] for s in study.hyperparameters.values()} == {needed} and len(study.hyperparameters) == 2
    classes = [p.calibration.classes for p in study.points.values() if p.calibration]
    assert classes == [[0], [1], [2], [3], [4]] and len(study.points) == 6
    for task in merged(read_suite(study.suite)):
        available = np.bincount(RENDERED[task].labels("calibration"))
        assert available[:5].min() >= needed, task


def test_each_component_is_merged_alone_and_both_together():
    assert read_study("component").vary == {"restrict.component": ["attention", "mlp", "all"]}


@pytest.mark.parametrize("name", ["dependency", "seeds", "calibration-source"])
def test_what_is_told_of_draws_is_measured_on_five_at_least(name):
    assert len(set(read_study(name).seeds)) >= 5


def test_seeds_varies_nothing_but_the_draw_for_methods_that_draw():
    study = read_study("seeds")
    (point,) = study.points.values()
    assert point.model_dump(exclude_defaults=True) == {} and not study.hyperparameters
    needs = [registry.methods()[name].needs for name in study.methods]
    assert len(needs) >= 4 and all(n.calibration or n.test_inputs for n in needs)


def test_calibration_comes_from_three_sources_one_of_no_task():
    assert read_study("calibration-source").vary == {"calibration.source": ["own", "shuffled", "unrelated"]}
    assert "unrelated" in registry.tasks() and "unrelated" not in read_zoo("tiny").tasks


def test_the_arms_of_dependency_differ_in_nothing_but_granularity_and_images():
    study = read_study("dependency")
    same = {"alpha": 0.95, "ridge": 0.0}
    assert study.methods == ["regmean", "regmean++"]
    assert study.hyperparameters == {"regmean": same, "regmean++": same | {"final_norm": "average"}}
    told = {(p.hyperparameters["granularity"], p.calibration.source if p.calibration else "own")
            for p in study.points.values()}  # fmt: skip
    assert told == set(itertools.product(("block", "linear"), ("own", "shuffled")))
    assert all(set(p.hyperparameters) == {"granularity"} and not p.restrict for p in study.points.values())
