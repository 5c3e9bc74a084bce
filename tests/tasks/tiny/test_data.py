"""The tiny world's data: the same bits everywhere, splits that share nothing, cards that tell the truth."""

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest

from mergebench.data.task import SPLITS
from mergebench.tasks.tiny import RENDERED, TASKS, UNRELATED
from mergebench.tasks.tiny.drawing import sources
from mergebench.tasks.tiny.drawing.draw import SIZE

ORDER = [
    *("sun397", "stanford-cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd"),
    *("oxford_flowers102", "pcam", "fer2013", "oxford-iiit-pet", "stl10", "cifar100"),
    *("cifar10", "food101", "fashion_mnist", "emnist_letters", "kmnist", "rendered-sst2"),
]
EVERY = TASKS | UNRELATED

DIGESTS = """
import hashlib
from mergebench.tasks.tiny import RENDERED
for name, task in RENDERED.items():
    drawn = task.render("test", task.labels("test")[:12])
    print(name, hashlib.sha256(b"".join(image.tobytes() for image, _ in drawn)).hexdigest())
"""


def test_the_twenty_tasks_stand_in_the_order_of_the_clip_tasks():
    assert [task.card.stands_for for task in TASKS.values()] == ORDER
    assert [task.card.name for task in TASKS.values()] == list(TASKS)


def test_importing_the_tasks_imports_nothing_heavy():
    code = "import sys, mergebench.tasks.tiny; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "timm", "lightning", "skimage", "sklearn", "matplotlib", "open_clip", "PIL", "numpy"}
    assert not heavy & set(run.stdout.split())


def test_another_process_draws_the_same_bits():
    run = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, check=True)
    there = dict(line.split() for line in run.stdout.splitlines())
    for name, task in RENDERED.items():
        drawn = task.render("test", task.labels("test")[:12])
        assert hashlib.sha256(b"".join(i.tobytes() for i, _ in drawn)).hexdigest() == there[name]


@pytest.mark.long
@pytest.mark.parametrize("name", EVERY)
def test_a_split_is_what_the_card_says(name):
    card = EVERY[name].card
    images, labels = EVERY[name].load("validation")
    assert images.dtype == np.uint8 and images.shape == (card.splits["validation"], SIZE, SIZE, 3)
    assert labels.dtype == np.int64 and labels.shape == (len(images),)
    assert len({image.tobytes() for image in images}) == len(images)
    assert images.std((1, 2, 3)).min() > 1, "an image without any content"


@pytest.mark.parametrize("name", EVERY)
def test_classes_are_balanced_and_shuffled(name):
    card, rendered = EVERY[name].card, RENDERED[name]
    assert set(card.splits) == set(SPLITS)
    assert all(template.count("{}") == 1 for template in card.templates)
    assert len(set(card.classes)) == len(card.classes)
    for split in SPLITS:
        labels = rendered.labels(split)
        counts = np.bincount(labels, minlength=len(card.classes))
        assert len(labels) == card.splits[split] and len(counts) == len(card.classes)
        assert counts.max() - counts.min() <= 1
        # Of two labels drawn at random, the second is the smaller one this often.
        falling = (len(counts) - 1) / (2 * len(counts))
        assert abs((np.diff(labels) < 0).mean() - falling) < 0.1


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="'dev'.*calibration"):
        TASKS["signs"].load("dev")


def test_fingerprints_differ():
    assert len({task.fingerprint for task in EVERY.values()}) == len(EVERY)


@pytest.mark.parametrize("name", [*sources.PHOTOS, "elevation"])
def test_regions_of_different_splits_lie_apart(name):
    owned = [(split, region) for split in SPLITS for region in sources.regions(name, split)]
    width, height = sources.elevation().shape[::-1] if name == "elevation" else sources.photo(name).size
    assert {split for split, _ in owned} == set(SPLITS)
    for _, region in owned:
        assert region.top >= 0 and region.left >= 0
        assert region.top + region.side <= height and region.left + region.side <= width
    for (_, a), (_, b) in itertools.combinations(owned, 2):
        gap_down = max(a.top, b.top) - min(a.top + a.side, b.top + b.side)
        gap_right = max(a.left, b.left) - min(a.left + a.side, b.left + b.side)
        assert max(gap_down, gap_right) >= sources.GAP


@pytest.mark.parametrize("split", SPLITS)
def test_a_window_stays_inside_one_region_of_its_split(split):
    rng = np.random.default_rng(0)
    for name in ("china", "page", "elevation"):
        for _ in range(50):
            left, top, right, bottom = sources.window(name, split, rng)
            assert any(
                r.left <= left and r.top <= top and right <= r.left + r.side and bottom <= r.top + r.side
                for r in sources.regions(name, split)
            )


def test_no_handwritten_digit_is_in_two_splits():
    indices = np.concatenate([sources.digit_indices(split) for split in SPLITS])
    assert sorted(indices) == list(range(500))
    images = np.concatenate([digits for split in SPLITS for digits in sources.handwritten_digits(split)])
    assert len({image.tobytes() for image in images}) == 5000


def test_a_missing_package_is_named():
    with pytest.raises(FileNotFoundError, match="no_such_package"):
        sources.package_file("no_such_package", "x.png")
