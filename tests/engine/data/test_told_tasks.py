"""What a task's data came to is told in one line; fields that say nothing of its data are refused."""

import hashlib
import json

import pytest

from mergebench.data import folders, splits
from mergebench.errors import MergebenchError


def test_classes_splits_and_what_was_passed_over_are_told(image_folder, placed, tmp_path):
    image_folder(a=range(5), b=range(5, 10), c=range(10, 15), d=range(15, 20))
    rows = "".join(f"pictures/{'abcd'[n // 5]}/{n:03}.png,{n // 5},x\n" for n in range(20))
    (tmp_path / "mine.csv").write_text("image,label,note\n" + rows)
    told = placed(data="mine.csv", classes=list("abcd"), labels=["one a", "one b", "one c", "one d"]).told
    assert told.startswith("task flowers: 4 classes (a, b, c, ...); images: train ") and ", test 4" in told
    assert told.endswith(
        "; passed over: columns 'note'; `labels`, for the data's are bare numbers: they are taken in the order of the "
        "classes"
    )


@pytest.mark.parametrize(
    ("data", "fields", "told"),
    [
        ("pictures", {"label": "kind"}, "`label` .'kind'. says nothing of folders of images; leave it out"),
        ("pictures", {"subset": "x"}, "`subset` .'x'. says nothing of folders of images"),
        ("mine.csv", {"subset": "x"}, "`subset` .'x'. says nothing of a .csv file"),
        ("torchvision:KMNIST", {"split": "x"}, "`split` .'x'. says nothing of torchvision's data sets"),
    ],
)
def test_a_field_that_says_nothing_is_refused(image_folder, placed, tmp_path, data, fields, told):
    image_folder(a=[1], b=[2])
    (tmp_path / "mine.csv").write_text("image,label\npictures/a/001.png,a\n")
    with pytest.raises(MergebenchError, match=told):
        placed(data=data, **fields)


def test_numbers_without_classes_are_the_classes_that_occur(image_folder, placed, tmp_path):
    image_folder(a=range(12))
    for ids in ((1, 2, 3), (0, 2, 5)):
        rows = "".join(f"pictures/a/{n:03}.png,{ids[n % 3]}\n" for n in range(12))
        (tmp_path / "mine.csv").write_text("image,label\n" + rows)
        assert placed(data="mine.csv").card.classes == tuple(map(str, ids))
    (tmp_path / "mine.csv").write_text("image,label\n" + rows.replace(",5", ",1000000000"))
    with pytest.raises(MergebenchError, match="stay below 1,000,000"):
        placed(data="mine.csv")


def test_only_keys_of_what_is_read_otherwise_have_changed(image_folder, placed):
    """Keys from before are what they were: one is made here of all that entered it then."""
    root = image_folder(a=range(6), b=range(6, 12))
    named = {"data": "pictures", "subset": "", "image": "image", "label": "label", "splits": {}, "counts": {}}
    first = {
        "versions": [2, 1, 1],
        "size": 16,
        "source": folders.find(root, splits.wanted({})).identity,
        "config": named | {"classes": ["b", "a"], "labels": []},
    }
    expected = hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()[:16]
    assert placed(data="pictures", classes=["b", "a"]).fingerprint == expected
    assert placed(data="pictures", classes=["b", "a"], alpha="dropped", white=255).fingerprint == expected
    assert placed(data="pictures", classes=["b", "a"], alpha="white").fingerprint != expected


def test_a_class_s_long_name_is_cut_where_it_is_told(image_folder, placed, tmp_path):
    image_folder(a=range(5), b=range(5, 10))
    rows = "".join(f"pictures/{'ab'[n // 5]}/{n:03}.png,{'ab'[n // 5] * 5000}\n" for n in range(10))
    (tmp_path / "mine.csv").write_text("image,label\n" + rows)
    task = placed(data="mine.csv")
    assert len(task.told) < 400 and len(task.card.classes[0]) == 5000


def test_fields_for_images_that_are_not_there_are_told(image_folder, placed):
    image_folder(a=range(5), b=range(5, 10))
    told = placed(data="pictures", white=1, alpha="white").told
    assert "`white`, for no image that was looked at has more than 8 bits a channel" in told
    assert "`alpha`, for no image that was looked at has transparency" in told
