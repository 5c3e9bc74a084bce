"""Four splits of two: sizes known from counts alone, and no image in two of them."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergebench.data import splits
from mergebench.data.task import SPLITS
from mergebench.errors import MergebenchError

COUNTS = st.fixed_dictionaries(
    {"train": st.integers(4, 30_000)}, optional={"test": st.integers(1, 9_000), "validation": st.integers(1, 9_000)}
)


@given(COUNTS)
def test_no_image_is_in_two_splits_and_none_is_lost(counts):
    shares = [splits.share(counts, split) for split in SPLITS]
    for role, count in counts.items():
        indices = np.concatenate([found for whose, found in shares if whose == role])
        assert sorted(indices.tolist()) == list(range(count))


@given(COUNTS)
def test_sizes_are_those_of_the_shares_and_none_is_empty(counts):
    sizes = splits.sizes(counts)
    assert set(sizes) == set(SPLITS) and min(sizes.values()) >= 1
    for split, size in sizes.items():
        role, indices = splits.share(counts, split)
        assert len(indices) == size and (np.diff(indices) > 0).all()
        assert role == split if split in counts and split != "train" else role == "train"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # By hand, from the rule.
        ({"train": 21_600, "test": 2_700}, {"train": 17_552, "calibration": 2_048, "validation": 2_000, "test": 2_700}),
        ({"train": 1_000, "test": 50}, {"train": 600, "calibration": 300, "validation": 100, "test": 50}),
        ({"train": 1_000}, {"train": 480, "calibration": 240, "validation": 80, "test": 200}),
        (
            {"train": 1_020, "validation": 1_020, "test": 6_149},
            {"train": 680, "calibration": 340, "validation": 1_020, "test": 6_149},
        ),
        ({"train": 4}, {"train": 1, "calibration": 1, "validation": 1, "test": 1}),
    ],
)
def test_the_rule(counts, expected):
    assert splits.sizes(counts) == expected


@pytest.mark.parametrize(
    "counts", [{"train": 3}, {"train": 2, "test": 9}, {"train": 1, "validation": 1}, {"train": 9, "test": 0}]
)
def test_too_few_images_are_refused(counts):
    with pytest.raises(MergebenchError, match="too few images to make train, calibration, validation and test"):
        splits.sizes(counts)


def test_which_images_they_are_stays_the_same_in_every_release():
    indices = splits.share({"train": 1_000, "test": 9}, "calibration")[1]
    assert hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()[:16] == "bd91b28e8c6b517c"
    other = splits.share({"train": 1_001, "test": 9}, "calibration")[1]
    assert not np.array_equal(indices, other[: len(indices)])


def test_every_class_is_in_every_split_of_a_source_that_is_sorted_by_class():
    labels = np.repeat(np.arange(10), 200)
    for split in SPLITS:
        counts = np.bincount(labels[splits.share({"train": 2_000}, split)[1]], minlength=10)
        assert counts.min() > 0.4 * counts.mean()


@pytest.mark.parametrize(
    ("named", "there", "expected"),
    [
        ({}, ["train", "test"], {"train": "train", "test": "test"}),
        ({}, ["train"], {"train": "train"}),
        ({}, ["train", "test", "val"], {"train": "train", "test": "test", "validation": "val"}),
        ({}, ["train", "validation", "val"], {"train": "train", "validation": "validation"}),
        ({"test": "validation"}, ["train", "validation"], {"train": "train", "test": "validation"}),
        ({"test": "validation"}, ["train", "validation", "test"], {"train": "train", "test": "validation"}),
        ({"train": "trainval"}, ["trainval", "train", "test"], {"train": "trainval", "test": "test"}),
        (
            {"validation": "valid"},
            ["train", "valid", "test"],
            {"train": "train", "test": "test", "validation": "valid"},
        ),
    ],
)
def test_what_is_taken_for_what(named, there, expected):
    assert splits.roles(named, there) == expected
    assert set(expected.values()) <= splits.wanted(named)


@pytest.mark.parametrize(
    ("named", "there", "told"),
    [
        ({}, ["test"], "no split 'train'; there are: test"),
        ({}, [], "no split 'train'; there are: none"),
        ({"test": "exam"}, ["train", "test"], "no split 'exam'; there are: test, train"),
        ({"train": "test"}, ["train"], "no split 'test'; there are: train"),
        ({"test": "train"}, ["train", "test"], "'train' is taken for another split; say which one"),
        ({"train": "test", "test": "test"}, ["train", "test"], "'test' is named twice; no image may be in two splits"),
    ],
)
def test_splits_that_are_not_there_or_would_share_images_are_refused(named, there, told):
    with pytest.raises(MergebenchError) as caught:
        splits.roles(named, there)
    assert told in str(caught.value)
