"""One and the same image in two splits or under two labels is refused, by content, unless that is allowed."""

import shutil
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mergebench.configuration import TaskConfig
from mergebench.data import duplicates
from mergebench.data.described import make_task
from mergebench.data.task import Place
from mergebench.errors import MergebenchError


@pytest.fixture
def shots(image_folder):
    return image_folder(red=range(6), blue=range(6, 12))


def rows(lines, tmp_path, header="image,label"):
    text = "".join(f"pictures/{'red' if n < 6 else 'blue'}/{n:03}.png,{rest}\n" for n, rest in lines)
    (tmp_path / "mine.csv").write_text(f"{header}\n{text}")


def refused(placed, told, **fields):
    with pytest.raises(MergebenchError, match=told) as caught:
        placed(**fields)
    assert len(str(caught.value).splitlines()) == 1 and "--allow-duplicates, `allow_duplicates: true`" in str(
        caught.value
    )


def test_a_row_that_stands_twice_or_in_two_splits_is_refused(shots, tmp_path, placed):
    twice = [(n, f"{n // 6},{split}") for n in range(12) for split in ("train", "test")]
    rows(twice, tmp_path, "image,label,split")
    refused(placed, r"12 images are in several splits, as .*\.png \(\w+\) and .*\.png \(test\)", data="mine.csv")
    rows([(n, str(n // 6)) for n in [*range(12), *range(12)]], tmp_path)
    refused(placed, r"\d+ images are in several splits", data="mine.csv")


def test_a_file_under_two_labels_is_refused(shots, tmp_path, placed):
    rows([*((n, f"{n // 6},train") for n in range(12)), (0, "1,train")], tmp_path, "image,label,split")
    refused(placed, "1 image is in several classes", data="mine.csv")


def test_a_copy_or_a_link_in_another_split_is_refused_and_a_file_of_the_same_size_is_not(
    image_folder, tmp_path, placed
):
    root = image_folder("parted", train__red=range(6), train__blue=range(6, 12), test__red=[20], test__blue=[21])
    size = (root / "train/red/001.png").stat().st_size
    (root / "train/red/000.png").write_bytes((root / "train/red/000.png").read_bytes().ljust(size + 99, b"\0"))
    (root / "test/red/020.png").write_bytes((root / "test/red/020.png").read_bytes().ljust(size + 99, b"\0"))
    assert not placed(data="parted").duplicates
    shutil.copy(root / "train/red/003.png", root / "test/red/copy.png")
    (root / "test/blue/link.png").symlink_to(root / "train/blue/008.png")
    refused(placed, r"2 images are in several splits, as .*\.png \(\w+\) and .*\.png \(test\)", data="parted")


def test_tables_are_held_to_it_too(tmp_path, encoded, placed):
    for split, numbers in {"train": range(12), "test": [0, 30]}.items():
        table = pa.table({"image": [encoded(n) for n in numbers], "label": [n % 2 for n in range(len(numbers))]})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    refused(placed, "1 image is in several splits, as row 0 of 'train'", data=".")


def test_allowed_they_are_noted_and_the_images_stay_the_same(shots, tmp_path, placed):
    rows([(n, str(n // 6)) for n in [*range(12), *range(12)]], tmp_path)
    task = placed(data="mine.csv", allow_duplicates=True)
    assert "allowed: " in task.duplicates and task.duplicates in task.told
    config = TaskConfig(data="mine.csv")
    other = make_task("flowers", config, tmp_path).at(Place(16, download=False, allow_duplicates=True))
    assert other.fingerprint == task.fingerprint and other.duplicates == task.duplicates


def test_what_was_found_is_remembered_and_nothing_is_written_where_that_is_not_wanted(shots, tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    task = make_task("flowers", TaskConfig(data="pictures"), tmp_path)
    task.at(Place(16, download=False))
    assert not (tmp_path / "cache").exists()
    task.at(Place(16))
    monkeypatch.setattr(duplicates, "shared", lambda parts: pytest.fail("asked again"))
    task.at(Place(16))


def test_what_others_publish_is_told_and_not_refused(tmp_path, encoded, placed):
    folder = tmp_path / "hub/datasets/owner/doubles"
    folder.mkdir(parents=True)
    for split, numbers in {"train": range(12), "test": [0, 30]}.items():
        table = pa.table({"image": [encoded(n) for n in numbers], "label": [n % 2 for n in range(len(numbers))]})
        pq.write_table(table, folder / f"{split}.parquet")
    task = placed(data="owner/doubles", root=tmp_path / "hub")
    assert task.duplicates.startswith("as published: 1 image is in several splits, as row 0 of 'train'")
    assert task.duplicates in task.told


def test_torchvision_s_sets_are_told_of_by_their_pixels_or_files(tmp_path, placed, picture):
    root = tmp_path / "hub"
    raw = root / "torchvision/KMNIST/KMNIST/raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 30), ("t10k", 10)):  # the first ten of train
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", np.resize(np.arange(10, dtype=np.uint8), count))):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (raw / f"{split}-{kind}-ubyte").write_bytes(header + array.tobytes())
    task = placed(data="torchvision:KMNIST", root=root)
    assert task.duplicates.startswith("as published: 10 images are in several splits, as image ")
    for split in ("train", "valid", "test"):
        for number, name in enumerate(("AF", "BR")):
            folder = root / f"torchvision/Country211/country211/{split}/{name}"
            folder.mkdir(parents=True)
            for n in range(4):
                picture(100 * number + 10 * ("train", "valid", "test").index(split) + n).save(folder / f"{n}.png")
    assert not placed(data="torchvision:Country211", root=root).duplicates
    shutil.copy(folder / "1.png", root / "torchvision/Country211/country211/train/BR/9.png")
    task = placed(data="torchvision:Country211", root=root)
    assert task.duplicates.startswith("as published: 1 image is in several splits")
