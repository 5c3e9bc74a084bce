"""A description becomes a task: sizes, labels and pixels as promised, and a key that knows all that they depend on."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mergebench.configuration import TaskConfig
from mergebench.data import preprocessing
from mergebench.data.described import make_task
from mergebench.data.image_cache import load_split
from mergebench.data.task import SPLITS, Place
from mergebench.errors import MergebenchError

CLASSES = ["rose", "oak tree"]


@pytest.fixture
def flowers(image_folder):
    """Twelve images in train, six in test, of two classes."""
    image_folder(
        train__Oak_tree=range(6), train__Rose=range(6, 12), test__Oak_tree=range(20, 23), test__Rose=range(23, 26)
    )


def test_every_image_is_in_one_split_with_its_own_label_and_pixels(flowers, placed, picture):
    task = placed(data="pictures", classes=CLASSES)
    assert task.card.splits == {"train": 7, "calibration": 3, "validation": 2, "test": 6}
    expected = {
        preprocessing.square(picture(n), 16).tobytes(): int(n < 6 or 20 <= n < 23) for n in (*range(12), *range(20, 26))
    }
    found = {}
    for split in SPLITS:
        made = load_split(task, split)
        assert len(made.images) == task.card.splits[split]
        found |= {image.tobytes(): int(label) for image, label in zip(made.images, made.labels, strict=True)}
    assert found == expected
    assert {i.tobytes() for i in load_split(task, "test").images} == {
        preprocessing.square(picture(n), 16).tobytes() for n in range(20, 26)
    }


def test_a_card_whose_counts_are_stated_is_whole_before_anything_is_read(tmp_path):
    config = TaskConfig(title="F", data="nowhere", classes=CLASSES, counts={"train": 100, "test": 7}, licence="CC0")
    task = make_task("flowers", config, tmp_path)
    assert task.card.splits == {"train": 60, "calibration": 30, "validation": 10, "test": 7}
    assert task.card.classes == ("rose", "oak tree") and task.card.licence == "CC0"
    assert task.card.title == "F" and task.card.stands_for == "flowers"
    with pytest.raises(MergebenchError, match="task 'flowers': its images have no size before it is placed"):
        task.load("test")
    with pytest.raises(MergebenchError, match="task 'flowers': no data at .*nowhere; give a folder, a .csv file"):
        task.at(Place(16))


def test_what_may_be_a_path_or_a_place_on_the_hub_is_told_as_both(flowers, placed):
    unfetched = "has not been fetched; `mergebench fetch` does that"
    with pytest.raises(MergebenchError, match=f"'pictures/flower' {unfetched}; and there is no folder .*flower$"):
        placed(data="pictures/flower")
    with pytest.raises(MergebenchError, match=f"task 'flowers': 'owner/flower' {unfetched}$"):
        placed(data="owner/flower")


def test_what_a_description_leaves_out_is_read_from_the_data(flowers, tmp_path, placed):
    assert make_task("flowers", TaskConfig(data="pictures"), tmp_path).card.splits == {}
    card = placed(data="pictures").card
    assert card.classes == ("Oak_tree", "Rose") and sum(card.splits.values()) == 18
    assert card.title == card.stands_for == "flowers"


def test_the_key_changes_with_all_that_the_pixels_and_labels_depend_on(flowers, placed, tmp_path, monkeypatch):
    fields = {"data": "pictures", "classes": CLASSES}
    found = [placed(**fields).fingerprint]
    assert placed(**fields, title="Another", source="elsewhere", templates=["a {}"]).fingerprint == found[0]
    found.append(placed(**fields, size=24).fingerprint)
    found.append(placed(data="pictures", classes=CLASSES[::-1]).fingerprint)
    found.append(placed(**fields, labels=["Rose", "x"]).fingerprint)
    found.append(placed(**fields, counts={"train": 12, "test": 6}).fingerprint)
    for module in ("preprocessing", "splits", "labels"):
        with monkeypatch.context() as patch:
            patch.setattr(f"mergebench.data.{module}.VERSION", 99)
            found.append(placed(**fields).fingerprint)
    file = tmp_path / "pictures/test/Rose/023.png"
    os.utime(file, ns=(1, 1))
    found.append(placed(**fields).fingerprint)
    file.unlink()
    found.append(placed(**fields).fingerprint)
    assert len(set(found)) == len(found)


def test_a_task_tells_whether_its_test_split_is_a_part_of_train(flowers, image_folder, placed):
    image_folder("alone", Rose=range(8), Oak_tree=range(8, 16))
    assert not placed(data="pictures").carved and placed(data="alone").carved
    assert not placed(data="pictures", classes=CLASSES, counts={"train": 12, "test": 6}).carved
    assert placed(data="alone", classes=CLASSES, counts={"train": 16}).carved
    assert placed(data="pictures").at(Place(24)).carved is False


@pytest.fixture(params=["folder", "table", "csv"])
def three_splits(request, image_folder, encoded, tmp_path):
    """Twelve images in train, six in Test, four in val, of two classes, as a source of each kind on disk: its name."""
    splits = {"train": range(12), "Test": range(12, 18), "val": range(18, 22)}
    if request.param == "table":
        for split, numbers in splits.items():
            rows = pa.table({"image": [encoded(n) for n in numbers], "label": [n % 2 for n in numbers]})
            pq.write_table(rows, tmp_path / f"{split}.parquet")
        return "."
    image_folder(**{f"{split}__{odd}": range(ns[odd], ns[-1] + 1, 2) for split, ns in splits.items() for odd in (0, 1)})
    if request.param == "folder":
        return "pictures"
    rows = [f"pictures/{split}/{n % 2}/{n:03}.png,{n % 2},{split}" for split, ns in splits.items() for n in ns]
    (tmp_path / "mine.csv").write_text("\n".join(("image,label,split", *rows)))
    return "mine.csv"


def test_counts_that_leave_out_a_split_of_a_source_on_disk_are_refused(three_splits, placed):
    """Otherwise a part of train would be tested on, and the source's own test images lie there unseen."""
    whole = {"train": 12, "test": 6, "val": 4}
    for counts in ({}, whole):
        task = placed(data=three_splits, counts=counts)
        assert not task.carved and task.card.splits == {"train": 8, "calibration": 4, "validation": 4, "test": 6}
    for left_out in ("test", "val"):
        counts = {split: count for split, count in whole.items() if split != left_out}
        with pytest.raises(MergebenchError) as caught:
            placed(data=three_splits, counts=counts)
        assert f"{three_splits} has a split '{left_out}', in whose place a part of train" in str(caught.value)
        assert str(caught.value).startswith("task 'flowers': ") and len(str(caught.value).splitlines()) == 1


def test_a_split_that_another_replaces_need_not_be_counted(three_splits, placed):
    task = placed(data=three_splits, splits={"test": "val"}, counts={"train": 12, "val": 4})
    assert task.card.splits["test"] == 4 and not task.carved


def test_a_placed_task_can_be_placed_elsewhere(flowers, placed):
    moved = placed(data="pictures").at(Place(24))
    assert load_split(moved, "test").images.shape == (6, 24, 24, 3)


def test_one_class_alone_is_refused(image_folder, placed):
    image_folder(Rose=range(20))
    with pytest.raises(MergebenchError, match=r"^task 'flowers': 1 class \(Rose\); to classify takes two$"):
        placed(data="pictures")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"counts": {"train": 12, "test": 2700}}, "split 'test' has 6 images, but its card says 2,700"),
        ({"counts": {"train": 12, "test": 6, "val": 3}}, "no split 'val'; there are: test, train"),
        ({"classes": ["rose", "tulip"]}, "the card has no class 'Oak_tree'; the data have no class 'tulip'"),
        ({"classes": ["rose", "oak tree", "tulip"]}, "the data have no class 'tulip'"),
        ({"splits": {"test": "exam"}}, "no split 'exam'; there are: train"),
    ],
)
def test_data_that_contradict_the_card_are_refused_in_one_line(flowers, placed, fields, told):
    with pytest.raises(MergebenchError) as caught:
        placed(**{"data": "pictures", "classes": CLASSES} | fields).load("test")
    assert str(caught.value).startswith("task 'flowers': ") and told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_class_that_nothing_is_learnt_of_is_refused(image_folder, placed):
    image_folder(train__dog=range(6), train__cat=range(6), test__dog=[7], test__cats=[8])
    with pytest.raises(MergebenchError, match="task 'flowers': class 'cats' is in its test split, but not in train"):
        placed(data="pictures")


def test_an_image_that_cannot_be_decoded_is_named(flowers, placed, tmp_path):
    file = tmp_path / "pictures/test/Rose/024.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MergebenchError) as caught:
        load_split(placed(data="pictures"), "test")
    assert str(caught.value).startswith(f"task 'flowers', split 'test': {file} cannot be decoded: OSError: ")
    assert len(str(caught.value).splitlines()) == 1


def test_making_a_task_imports_nothing_that_reads_images(tmp_path):
    code = """
import sys
from pathlib import Path
from mergebench.configuration import TaskConfig
from mergebench.data.described import make_task
make_task("a", TaskConfig(data="owner/name", classes=["a"], counts={"train": 9}), Path("."))
print([m for m in ("numpy", "datasets", "pyarrow", "PIL", "torch", "huggingface_hub") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_labels_are_whole_numbers_and_the_same_bits_on_every_call(flowers, placed):
    first, second = (placed(data="pictures", classes=CLASSES).load("train") for _ in range(2))
    assert first.labels.dtype == np.int64 and np.array_equal(first.labels, second.labels)
    assert all(np.array_equal(first.decode(i), second.decode(i)) for i in range(len(first.labels)))
