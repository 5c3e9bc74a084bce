"""Folders that may be classes or hold them, folders that speak of splits, links, and both forms of a name."""

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
