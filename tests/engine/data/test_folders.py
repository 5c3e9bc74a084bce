"""Folders of images: which files count, in which order, and what is refused."""

import io
from pathlib import Path

import pytest
from PIL import Image

from mergebench.data import folders, splits
from mergebench.data.source import open_image
from mergebench.errors import MergebenchError

WANTED = {"train", "test", "validation", "val"}


def labels(root, split="train", wanted=WANTED):
    source = folders.find(root, wanted).read(wanted)
    return [(source.parts[split].told(i), source.names[label]) for i, label in enumerate(source.parts[split].labels)]


def test_one_folder_per_class_is_train_in_the_order_of_names(image_folder):
    root = image_folder(rose=[3, 1], oak=[2])
    assert labels(root) == [
        (str(root / "oak/002.png"), "oak"),
        (str(root / "rose/001.png"), "rose"),
        (str(root / "rose/003.png"), "rose"),
    ]
    assert set(folders.find(root, WANTED).read(WANTED).parts) == {"train"}


def test_folders_of_splits_are_splits_in_whatever_case(image_folder):
    root = image_folder(train__a=[1], Test__a=[2], VAL__a=[3], train__b=[5])
    source = folders.find(root, WANTED).read(WANTED)
    assert set(source.parts) == {"train", "test", "val"} and source.names == ("a", "b")
    assert source.parts["test"].told(0) == str(root / "Test/a/002.png")
    assert set(folders.find(root, WANTED).read({"train"}).parts) == {"train"}


def test_a_class_that_a_split_lacks_keeps_its_number(image_folder):
    root = image_folder(train__a=[1], train__b=[2, 3], train__c=[4], test__a=[5], test__c=[6, 7])
    parts = folders.find(root, WANTED).read(WANTED).parts
    assert parts["train"].labels.tolist() == [0, 1, 1, 2] and parts["test"].labels.tolist() == [0, 2, 2]


def test_a_usual_split_that_another_replaces_is_left_and_so_are_hidden_folders(image_folder):
    root = image_folder(train__a=[1], test__a=[2], holdout__a=[3], **{".cache__a": [4]})
    wanted = splits.wanted({"test": "holdout"})
    assert set(folders.find(root, wanted).read(wanted).parts) == {"train", "holdout"}


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("train__a", "Test__a", "holdout__a"), "has folders of splits (Test, train), and beside them 'holdout'"),
        (("train__a", "holdout__a"), "name it under `splits:`"),
        (("train__a", "test"), "pictures/test is a split by its name, but has no folders of images"),
        (("train", "test"), "pictures/test is a split by its name, but has no folders of images"),
        (("train__a", "Train__a"), "has two folders of one split: Train, train"),
    ],
)
def test_folders_beside_those_of_splits_are_refused(image_folder, classes, told):
    root = image_folder(**{place: [number] for number, place in enumerate(classes)})
    with pytest.raises(MergebenchError) as caught:
        folders.find(root, WANTED)
    assert told in str(caught.value) and str(root) in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_class_may_be_called_train(image_folder):
    root = image_folder(train=[1], car=[2])
    assert [name for _, name in labels(root)] == ["car", "train"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tif", ".ppm"])
def test_every_usual_kind_of_image_is_read(image_folder, suffix, picture):
    root = image_folder(suffix=suffix, a=[1])
    part = folders.find(root, WANTED).read(WANTED).parts["train"]
    assert part.image(0).convert("RGB").size == picture(1).size


def test_hidden_files_are_none_and_deeper_folders_belong_to_the_class(image_folder, tmp_path):
    root = image_folder(rose__wild=[1], rose=[2])
    (root / ".git").mkdir()
    (root / "rose" / ".DS_Store").write_text("x")
    (root / "README.txt").write_text("beside the classes, not in one")
    assert [name for _, name in labels(root)] == ["rose", "rose"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "rose/notes.txt").write_text("x"), "rose/notes.txt is no image by its name; move it"),
        (lambda root: (root / "tulip").mkdir(), "tulip is to be a class, but holds no images; fill it or remove it"),
        (lambda root: (root / "rose").rename(root / ".rose"), "has no folders of images, one per class"),
    ],
)
def test_folders_that_hold_something_else_are_refused(image_folder, spoil, told):
    root = image_folder(rose=[1])
    spoil(root)
    with pytest.raises(MergebenchError) as caught:
        folders.find(root, WANTED)
    assert told in str(caught.value) and str(root) in str(caught.value)


def calibrating(root):
    """Name -> label of the images that are given for calibration."""
    part = folders.for_calibration(root)
    return {str(Path(part.told(i)).relative_to(root)): int(label) for i, label in enumerate(part.labels)}


@pytest.mark.parametrize("train", ["train", "Train"])
def test_loose_images_in_train_all_calibrate(image_folder, train):
    flat = image_folder("flat", **{train: [1, 2], "test": [3]})
    assert calibrating(flat) == {f"{train}/001.png": -1, f"{train}/002.png": -1}


@pytest.mark.parametrize(
    ("train", "others", "count"),
    [
        ("", (), 7),
        ("train__", (), 7),
        ("Train__", ("val",), 8),
        ("train__", ("Test",), 9),
        ("train__", ("test", "validation"), 10),
        ("train__", ("test", "valid", "val"), 10),
    ],
)
def test_a_folder_calibrates_with_the_split_that_the_task_of_this_folder_has(
    image_folder, placed, train, others, count
):
    more = {f"{split}__rose": range(40 + 9 * i, 49 + 9 * i) for i, split in enumerate(others)}
    root = image_folder(**{f"{train}rose": range(20), f"{train}oak": range(20, 31)}, **more)
    part, task = folders.for_calibration(root), placed(data="pictures")
    expected = task.load("calibration")
    assert part.labels.tolist() == expected.labels.tolist() and len(part.labels) == count
    found = {part.table(16).image(i).tobytes() for i in range(count)}
    assert found == {expected.image(i).tobytes() for i in range(count)}
    for split in ("test", "validation", "train"):
        other = task.load(split)
        assert not found & {other.image(i).tobytes() for i in range(len(other.labels))}


def test_images_without_folders_all_calibrate(image_folder):
    root = image_folder(**{".": [1, 2, 3], ".hidden": [4]})
    (root / "notes").mkdir()
    assert calibrating(root) == {f"{n:03}.png": -1 for n in (1, 2, 3)}


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (
            {"a": [1, 2], "b": [3]},
            "3 images are too few for a calibration split beside train, validation and test; add",
        ),
        ({"train__a": [1], "train__b": [2]}, "2 images are too few for a calibration split beside train, validation"),
        ({"a": range(9), ".": [10]}, "holds images beside folders of images"),
        ({"train__a": [1], "holdout__a": [2]}, "and beside them 'holdout'"),
        ({"test__a": [1], "val__a": [2]}, "has folders of splits (test, val), but none called train"),
    ],
)
def test_folders_that_leave_open_what_calibrates_are_refused(image_folder, classes, told):
    root = image_folder(**classes)
    with pytest.raises(MergebenchError) as caught:
        folders.for_calibration(root)
    assert told in str(caught.value) and str(root) in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_file_that_holds_another_kind_than_images_is_not_opened(image_folder, monkeypatch):
    """PostScript is a program, which PIL would have run."""
    root = image_folder(a=[1])
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    assert Image.open(io.BytesIO(script)).format == "EPS"
    (root / "a/001.png").write_bytes(script)
    part = folders.find(root, WANTED).read(WANTED).parts["train"]
    with pytest.raises(MergebenchError, match="no image"):
        part.image(0)
    with pytest.raises(MergebenchError, match="no image"):
        open_image(io.BytesIO(script))
