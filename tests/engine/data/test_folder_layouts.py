"""Folders that may be classes or hold them, folders that speak of splits, links, and both forms of a name."""

import os
import shutil
import unicodedata

import pytest

from mergebench.data import folders
from mergebench.errors import MergebenchError

WANTED = {"train", "test", "validation", "val"}


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("a__abbey", "a__alley", "b__bar"), r"are its folders \(a, b, ...\) the classes, or those in them \(a/abbey"),
        (("images__x", "images__y", "segmentations__x"), r"are its folders \(images, segmentations"),
        (("2750__Crop", "2750__Forest"), r"holds one folder, of folders: give .*2750, if its folders are the classes"),
        (("Training__a", "Testing__a"), r"`splits:` \(test: Testing, train: Training\), or classes under `classes:`"),
        (("seg_train__a", "seg_test__a"), r"`splits:` \(test: seg_test, train: seg_train\)"),
        (("train_images", "test_images"), "are splits by their names, but have no folders of images"),
        (("train__a__x", "test__a__x"), r"are its folders \(test/a, train/a, ...\) the classes"),
    ],
)
def test_two_readings_of_folders_are_both_told(image_folder, classes, told):
    root = image_folder(**{place: [number] for number, place in enumerate(classes)})
    with pytest.raises(MergebenchError, match=told) as caught:
        folders.find(root, WANTED)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_named_is_read_as_it_is_named(image_folder, placed):
    root = image_folder(Training__a=range(6), Training__b=range(6, 12), Testing__a=[20, 21], Testing__b=[22])
    task = placed(data="pictures", splits={"train": "Training", "test": "Testing"})
    assert task.card.classes == ("a", "b") and task.card.splits["test"] == 3 and not task.carved
    assert folders.find(root, WANTED, ["Training", "Testing"]).read(WANTED).names == ("Testing", "Training")
    with pytest.raises(MergebenchError, match="Give the one of the training images, or folders of another name"):
        folders.for_calibration(root)


def test_images_in_linked_folders_count(image_folder, tmp_path):
    root = image_folder(rose=[1], oak=[2])
    image_folder("elsewhere", more=[3, 4])
    (root / "rose/linked").symlink_to(tmp_path / "elsewhere/more")
    assert len(folders.find(root, WANTED).read(WANTED).parts["train"].labels) == 4
    (root / "rose/back").symlink_to(root)
    with pytest.raises(MergebenchError, match="is a link back to a folder that it lies in; remove it"):
        folders.find(root, WANTED)
    (root / "rose/back").unlink()
    (root / "rose/gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(MergebenchError, match="gone.png is a link that leads nowhere"):
        folders.find(root, WANTED)


def test_both_forms_of_a_folders_name_are_one_class(image_folder, tmp_path):
    other = unicodedata.normalize("NFD", "Café")
    root = image_folder(**{"train__Café": [1], f"test__{other}": [2], "train__Tea": [3], "test__Tea": [4]})
    source = folders.find(root, WANTED).read(WANTED)
    assert source.names == ("Café", "Tea") and source.parts["test"].labels.tolist() == [0, 1]
    shutil.copytree(root / "train/Café", root / "train" / other)
    with pytest.raises(MergebenchError, match="has two folders 'Café'; make them one"):
        folders.find(root, WANTED)


def test_images_beside_the_classes_are_told(image_folder):
    root = image_folder(rose=[1], oak=[2], **{".": [7, 8]})
    assert folders.find(root, WANTED).passed_over == ("2 images beside the folders of classes",)


def test_a_folder_that_may_be_a_class_or_a_split_is_refused_until_it_is_named(image_folder):
    root = image_folder(cat=[1], dog=[2], test=[3])
    with pytest.raises(MergebenchError, match="is 'test' a class, or a split.*name them under `classes:`"):
        folders.find(root, WANTED)
    assert folders.find(root, WANTED, ["cat", "dog", "test"]).read(WANTED).names == ("cat", "dog", "test")
    root = image_folder("vehicles", bus=[1], train=[2])
    assert folders.find(root, WANTED).read(WANTED).names == ("bus", "train")


def test_folders_that_are_all_named_as_classes_are_no_splits(image_folder):
    root = image_folder(train=[1], test=[2])
    with pytest.raises(MergebenchError, match="test is a split by its name"):
        folders.find(root, WANTED)
    assert folders.find(root, WANTED, ["train", "test"]).read(WANTED).names == ("test", "train")


def test_the_remedy_for_splits_of_other_names_names_a_training_split_too(image_folder):
    root = image_folder(dev__a=[1], dev__b=[2], eval__a=[3], eval__b=[4])
    with pytest.raises(MergebenchError, match=r"`splits:` \(validation: dev, test: eval, train: ...\)"):
        folders.find(root, WANTED)


@pytest.mark.parametrize("names", [("resisc45-train.txt", "resisc45-test.txt"), ("Testing_01.txt",), ("val.json",)])
def test_lists_of_splits_beside_the_folders_are_refused_until_somebody_says_that_they_do_not_count(
    image_folder, placed, names
):
    root = image_folder(rose=range(6), oak=range(6, 12))
    for name in names:
        (root / name).write_text("rose_001.jpg\n")
    with pytest.raises(MergebenchError, match=f"has lists of splits .*{names[-1]}.*a .csv file .*`split: ''`"):
        placed(data="pictures")
    assert f"files '{sorted(names)[0]}'" in placed(data="pictures", split="").told


def test_other_files_beside_the_classes_are_told_but_for_notes(image_folder):
    root = image_folder(rose=[1], oak=[2])
    for name in ("README.md", "labels.csv", ".hidden", "Thumbs.db"):
        (root / name).write_text("x")
    assert folders.find(root, WANTED).passed_over == ("files 'labels.csv'",)


def test_a_class_that_is_a_link_to_nowhere_is_refused(image_folder):
    root = image_folder(rose=[1], oak=[2])
    (root / "elm").symlink_to(root / "nowhere")
    with pytest.raises(MergebenchError, match="elm is a link that leads nowhere; mend or remove it"):
        folders.find(root, WANTED)


def test_folders_that_nobody_can_tell_apart_are_refused(image_folder):
    root = image_folder(rose=[1], **{"rose\u200b": [2]})
    with pytest.raises(MergebenchError, match=r"'rose' and 'rose\\u200b': characters that are not seen"):
        folders.find(root, WANTED)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("list.txt", "is no .csv or .tsv file: write what it says into one, of image, label and split"),
        ("pictures.zip", "is an archive: unpack it, and give the folder"),
        ("train.parquet", "is one file of a table: give its folder, .*, with a file for each split in it"),
        ("one.png", "is one image: give a folder of one folder per class"),
    ],
)
def test_a_file_of_another_kind_is_told_as_one(placed, tmp_path, name, told):
    (tmp_path / name).write_text("x")
    with pytest.raises(MergebenchError, match=f"{name} {told}"):
        placed(data=name)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("x" * 5000, "is no path: File name too long; shorten it"),
        ("a\0b.csv", "cannot read .*null"),
        ("a\0b", "no data"),
    ],
)
def test_what_no_file_can_be_called_is_told_in_one_line(placed, data, told):
    with pytest.raises(MergebenchError, match=told) as caught:
        placed(data=data)
    assert len(str(caught.value)) < 400


def test_a_pipe_among_images_is_refused(image_folder):
    root = image_folder(rose=[1], oak=[2])
    os.mkfifo(root / "rose/pipe.png")
    with pytest.raises(MergebenchError, match="pipe.png is neither file nor folder; move or remove it"):
        folders.find(root, WANTED)
