"""Folders of images: which files count, in which order, and what is refused."""

import pytest

from mergebench.data import folders
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


def test_folders_of_splits_are_splits_and_those_that_nobody_wants_are_left(image_folder):
    root = image_folder(train__a=[1], test__a=[2], val__a=[3], leftover__a=[4], train__b=[5])
    source = folders.find(root, WANTED).read(WANTED)
    assert set(source.parts) == {"train", "test", "val"} and source.names == ("a", "b")
    assert set(folders.find(root, WANTED).read({"train"}).parts) == {"train"}


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
