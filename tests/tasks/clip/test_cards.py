"""The 20 CLIP tasks' files: whole, in order, and in agreement with the protocol and with other packages' lists."""

import itertools
import subprocess
import sys

import pytest
import torchvision.datasets as vision
import yaml

from mergebench.data import labels
from mergebench.data.task import SPLITS
from mergebench.tasks import tiny
from mergebench.tasks.clip import CARDS, ORDER, PLACES, TASKS, described

CONFIGS = {name: described(name) for name in TASKS}

# Task -> classes and test images.
SIZES = {
    "sun397": (397, 19850),
    "stanford-cars": (196, 8041),
    "resisc45": (45, 6300),
    "eurosat": (10, 2700),
    "svhn": (10, 26032),
    "gtsrb": (43, 12630),
    "mnist": (10, 10000),
    "dtd": (47, 1880),
    "oxford_flowers102": (102, 6149),
    "pcam": (2, 32768),
    "fer2013": (7, 7178),
    "oxford-iiit-pet": (37, 3669),
    "stl10": (10, 8000),
    "cifar100": (100, 10000),
    "cifar10": (10, 10000),
    "food101": (101, 25250),
    "fashion_mnist": (10, 10000),
    "emnist_letters": (26, 20800),
    "kmnist": (10, 10000),
    "rendered-sst2": (2, 1821),
    "emnist_digits": (10, 40000),
}

each = pytest.mark.parametrize("name", TASKS)


def plain(name: str) -> str:
    """Letters and digits in lower case: what labels are compared by."""
    return "".join(c for c in name.lower() if c.isalnum())


def spellings(name: str) -> list[list[str]]:
    """How the data may name each class of a task: by `labels` where there are any, else by the class's own name."""
    config = CONFIGS[name]
    return [[label] if isinstance(label, str) else label for label in config.labels or config.classes]


def test_the_order_is_that_of_the_tasks_the_tiny_world_stands_for():
    assert [task.card.stands_for for task in tiny.TASKS.values()] == list(ORDER)
    assert [*ORDER, *PLACES] == list(TASKS) == list(SIZES)


def test_what_takes_another_s_place_says_so():
    assert {name: task.card.stands_for for name, task in TASKS.items()} == {n: n for n in ORDER} | PLACES


def test_every_file_is_a_task():
    assert sorted(path.stem for path in CARDS.glob("*.yaml")) == sorted(TASKS)


@each
def test_classes_and_test_images_are_as_many_as_published(name):
    config = CONFIGS[name]
    assert (len(config.classes), config.counts[config.splits.get("test", "test")]) == SIZES[name]


@each
def test_a_split_that_is_renamed_is_counted_and_serves_no_other(name):
    config = CONFIGS[name]
    assert all(source in config.counts and own != source for own, source in config.splits.items())
    assert len(set(config.splits.values())) == len(config.splits)
    assert set(config.counts) - set(config.splits.values()) <= {"train", "validation", "test"}


@each
def test_a_file_leaves_nothing_unsaid(name):
    config = CONFIGS[name]
    assert all((config.title, config.source, config.licence)) and "experts" in config.source
    assert plain(config.title) == plain(name) and "\n" not in config.source + config.licence


@each
def test_a_card_is_whole_before_any_image_is_there(name):
    card = TASKS[name].card
    assert card.name == name and len(card.classes) == SIZES[name][0]
    assert set(card.splits) == set(SPLITS) and card.splits["test"] == SIZES[name][1]
    assert min(card.splits.values()) >= 256, "fewer than the published number of calibration images"


@each
def test_no_class_and_no_template_stands_twice(name):
    config = CONFIGS[name]
    for names in (config.classes, config.templates, list(map(plain, config.classes))):
        assert len(set(names)) == len(names) and all(names)
    assert all(n == n.strip() for n in (*config.classes, *config.templates))


@each
def test_every_prompt_is_one_of_its_own(name):
    config = CONFIGS[name]
    prompts = [t.format(c) for c, t in itertools.product(config.classes, config.templates)]
    assert len(set(prompts)) == len(prompts) and all("{" not in p for p in prompts)


@each
def test_a_label_means_one_class(name):
    known = [{plain(s) for s in names} for names in spellings(name)]
    assert all(names and all(names) for names in known)
    assert all(not one & other for one, other in itertools.combinations(known, 2))


@each
def test_labels_hold_the_classs_own_name_but_where_the_experts_learnt_another(name):
    config = CONFIGS[name]
    elsewhere = {c for c, names in zip(config.classes, spellings(name), strict=True) if c not in names}
    assert elsewhere == ({"cheese plate", "cheesecake"} if name == "food101" else set())


@each
def test_digits_and_truth_values_are_names(name):
    """YAML would read 0, true and no as other things than names; pydantic would refuse them, but not None."""
    content = yaml.safe_load((CARDS / f"{name}.yaml").read_text(encoding="utf-8"))
    flat = [s for label in content.get("labels", []) for s in (label if isinstance(label, list) else [label])]
    assert {type(s) for s in [*content["classes"], *content["templates"], *flat]} == {str}


# What torchvision calls the classes, in the order of its label ids, where it says so without the data.
TORCHVISION = {
    "mnist": vision.MNIST.classes,
    "fashion_mnist": vision.FashionMNIST.classes,
    "kmnist": vision.KMNIST.classes,
    "emnist_digits": vision.EMNIST.classes_split_dict["digits"],
    "emnist_letters": vision.EMNIST.classes_split_dict["letters"][1:],  # its ids count from 1
    "oxford_flowers102": vision.Flowers102.classes,
    "eurosat": sorted(
        ["AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture"]
        + ["PermanentCrop", "Residential", "River", "SeaLake"]
    ),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_names_mean_the_classes_of_the_same_ids(name):
    found = [[plain(n) in map(plain, names) for names in spellings(name)].index(True) for n in TORCHVISION[name]]
    assert found == list(range(len(CONFIGS[name].classes)))


@pytest.mark.parametrize(
    ("name", "first", "names"),
    [
        ("food101", 14, ["carrot_cake", "ceviche", "cheesecake", "cheese_plate", "chicken_curry"]),
        ("cifar100", 25, ["couch", "cra", "crocodile"]),
        ("oxford-iiit-pet", 0, ["abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound"]),
        ("oxford_flowers102", 58, ["orange dahlia", "pink-yellow dahlia?", "cautleya spicata"]),
        ("fer2013", 3, ["happy", "neutral", "sad", "surprised"]),
        ("eurosat", 7, ["residential buildings or homes or apartments", "river", "lake or sea"]),
        ("gtsrb", 5, ["red and white circle 80 kph speed limit", "end / de-restriction of 80 kph speed limit"]),
        ("sun397", 395, ["yard", "youth hostel"]),
        ("stanford-cars", 194, ["Volvo XC90 SUV 2007", "smart fortwo Convertible 2012"]),
    ],
)
def test_the_copies_on_the_hub_name_these_classes_by_these_ids(name, first, names):
    """As their cards list them; the experts were taught by id."""
    for index, spelling in enumerate(names, start=first):
        assert plain(spelling) in map(plain, spellings(name)[index])


@each
def test_the_data_keep_their_ids(name):
    """The copies on the hub have every class at its place: an expert's head knows it by that alone."""
    config = CONFIGS[name]
    copies = [names[0] for names in spellings(name)]
    ids = labels.order(copies, range(len(copies)), config.classes, config.labels)
    assert ids.tolist() == list(range(len(config.classes)))


def test_reading_the_files_imports_nothing_heavy():
    code = "import sys, mergebench.tasks.clip"
    run = subprocess.run([sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not {"torch", "timm", "datasets", "transformers", "pyarrow", "numpy"} & set(run.stdout.split())
