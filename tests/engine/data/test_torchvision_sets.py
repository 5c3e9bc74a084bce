"""Data sets of torchvision's, in the formats in which their authors publish them."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mergebench.data import torchvision_sets
from mergebench.data.image_cache import load_split
from mergebench.data.task import Place
from mergebench.errors import MergebenchError

KANA = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


def write_idx(path, array):
    """The format of MNIST and its kin: two zero bytes, type, dimensions, lengths, values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def idx(tmp_path):
    """Writes a class's train and test as idx files into a folder that stands for the hub; gives their pixels."""

    def written(name, prefix, labels):
        made = {}
        for split, (file, count) in {"train": ("train", 40), "test": ("t10k", 20)}.items():
            file = split if prefix else file
            pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
            folder = tmp_path / "mirror/torchvision" / name / name / "raw"
            write_idx(folder / f"{prefix}{file}-images-idx3-ubyte", pixels)
            write_idx(folder / f"{prefix}{file}-labels-idx1-ubyte", np.resize(labels, count))
            made[split] = pixels
        return made

    return written


def test_a_set_that_takes_train_is_read_with_its_own_names_of_classes(idx, tmp_path, placed):
    pixels = idx("KMNIST", "", range(10))
    fields = {"data": "torchvision:KMNIST", "counts": {"train": 40, "test": 20}}
    task = placed(root=tmp_path / "mirror", size=28, classes=KANA[::-1], **fields)
    test = load_split(task, "test")
    assert test.labels.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] * 2
    assert np.array_equal(test.images, np.repeat(pixels["test"][..., None], 3, axis=3))
    assert task.card.splits == {"train": 24, "calibration": 12, "validation": 4, "test": 20}


def test_emnists_own_split_is_the_subset_and_its_images_stay_as_they_lie(idx, tmp_path, placed):
    pixels = idx("EMNIST", "emnist-letters-", range(1, 27))
    task = placed(
        root=tmp_path / "mirror",
        size=28,
        data="torchvision:EMNIST",
        subset="letters",
        classes=[chr(65 + i) for i in range(26)],
    )
    test = load_split(task, "test")
    assert test.labels.tolist() == list(range(20))
    assert np.array_equal(test.images[..., 0], pixels["test"])


class Sheets:
    """What torchvision's younger classes look like: `split=`, and pairs in `_samples`."""

    def __new__(cls, base):
        from PIL import Image

        class Made(base):
            classes = ("b", "a")

            def __init__(self, root, split="train", transform=None):
                if split not in ("train", "test", "val"):
                    raise ValueError(f"Unknown value '{split}' for argument split.")
                self._samples = [(number, number % 2) for number in range({"train": 20, "val": 6, "test": 4}[split])]

            def __len__(self):
                return len(self._samples)

            def __getitem__(self, index):
                number, label = self._samples[index]
                return Image.new("L", (16, 16), number), label

        return Made


def test_a_set_that_takes_split_has_the_splits_that_it_knows(tmp_path, monkeypatch, placed):
    import torchvision

    monkeypatch.setattr(torchvision.datasets, "Sheets", Sheets(torchvision.datasets.VisionDataset), raising=False)
    (tmp_path / "torchvision/Sheets").mkdir(parents=True)
    task = placed(root=tmp_path, data="torchvision:Sheets", classes=["a", "b"])
    assert task.card.splits == {"train": 14, "calibration": 6, "validation": 6, "test": 4}
    test = load_split(task, "test")
    assert test.labels.tolist() == [1, 0, 1, 0] and test.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_set_without_splits_is_train(tmp_path, picture):
    import torchvision

    folder = tmp_path / "torchvision/SUN397/SUN397"
    (folder / "a/abbey").mkdir(parents=True)
    (folder / "ClassName.txt").write_text("/a/abbey\n")
    for number in range(5):
        picture(number).save(folder / f"a/abbey/sun_{number}.jpg")
    source = torchvision_sets.find("SUN397", "", Place(16, tmp_path, False)).read({"train", "test"})
    assert set(source.parts) == {"train"} and source.names == ("abbey",)
    assert len(source.parts["train"].labels) == len(torchvision.datasets.SUN397(str(folder.parent)))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("KMNIST", "no data set torchvision:KMNIST in .*: there is no folder .*torchvision/KMNIST"),
        ("Nothing", "torchvision has no data set 'Nothing'"),
        ("folder", "torchvision has no data set 'folder'"),
        ("SVHN", "torchvision:SVHN: split 'test' cannot be read: Dataset not found .*; put its files into .*SVHN"),
        ("EMNIST", "torchvision:EMNIST: "),
        ("FakeData", "torchvision:FakeData is no data set of files in a folder"),
    ],
)
def test_what_torchvision_does_not_have_is_told_in_one_line(name, told, tmp_path, placed):
    if name != "KMNIST":
        (tmp_path / "torchvision" / name).mkdir(parents=True)
    with pytest.raises(MergebenchError, match=told) as caught:
        placed(root=tmp_path, data=f"torchvision:{name}", subset="no such" if name == "EMNIST" else "")
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_is_downloaded_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr("torchvision.datasets.mnist.check_integrity", lambda *_: False)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", lambda *a, **k: asked.append(a))
    with pytest.raises(MergebenchError, match="Dataset not found"):
        torchvision_sets.find("KMNIST", "", Place(16, None, download=False)).read({"train"})
    assert not asked
    with pytest.raises(MergebenchError):
        torchvision_sets.find("KMNIST", "", Place(16, None, download=True)).read({"train"})
    assert asked


def test_of_several_that_find_its_files_missing_one_downloads_them(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    downloads = []

    class Distant(torchvision.datasets.VisionDataset):
        def __init__(self, root, train=True, download=False):
            file, self.targets = Path(root) / "archive", [0, 1]
            if file.exists():
                return
            if not download:
                raise RuntimeError("Dataset not found")
            downloads.append(file)
            time.sleep(0.2)
            file.touch()

    monkeypatch.setattr(torchvision.datasets, "Distant", Distant, raising=False)
    found = torchvision_sets.find("Distant", "", Place(16, None, download=True))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda split: found.read({split}), ("train", "test"))
    assert len(downloads) == 1 and {*first.parts, *second.parts} == {"train", "test"}
    # Where all is there, nothing is written: a cache that many share may be closed to writers.
    monkeypatch.setattr("mergebench.data.torchvision_sets.builder", lambda *_: pytest.fail("locked"))
    assert found.read({"train"}).parts


def test_a_cache_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(MergebenchError, match="cannot write .*; choose a folder you may write to"):
        torchvision_sets.find("KMNIST", "", Place(16, None, download=True)).read({"train"})


def named_set(classes, labels):
    """A data set whose splits name their own classes."""
    import torchvision
    from PIL import Image

    class Made(torchvision.datasets.VisionDataset):
        def __init__(self, root, split="train", partition=1):
            if split not in classes:
                raise ValueError(f"Unknown value '{split}' for argument split.")
            self.classes, self._samples = classes[split], [(0, label) for label in labels[split]]

        def __len__(self):
            return len(self._samples)

        def __getitem__(self, index):
            return Image.new("L", (16, 16)), self._samples[index][1]

    return Made


@pytest.fixture
def own_set(tmp_path, monkeypatch):
    import torchvision

    def made(classes, labels):
        monkeypatch.setattr(torchvision.datasets, "Own", named_set(classes, labels), raising=False)
        (tmp_path / "torchvision/Own").mkdir(parents=True, exist_ok=True)
        place = Place(16, tmp_path, False)
        return lambda subset="": torchvision_sets.find("Own", subset, place).read({"train", "test"})

    return made


def test_splits_of_other_classes_are_joined_by_name_whatever_the_hash_seed(own_set):
    source = own_set({"train": ["AF", "BR", "CH"], "test": ["BR", "CH"]}, {"train": [0, 1, 2], "test": [0, 1]})()
    assert source.names == ("AF", "BR", "CH") and source.parts["test"].labels.tolist() == [1, 2]


def test_labels_that_are_none_are_told_with_the_remedy(own_set):
    read = own_set({"train": ["a", "b"], "test": ["a", "b"]}, {"train": [0, 1], "test": [None, None]})
    with pytest.raises(MergebenchError, match="split 'test' has no labels; name another under `splits`"):
        read()


def test_splits_of_which_some_name_no_classes_are_refused_with_those_that_do(own_set):
    read = own_set({"train": ["a", "b"], "test": None}, {"train": [0, 1], "test": [0, 1]})
    told = "torchvision:Own: of its splits test, train only train name their classes; leave the others out, by `splits`"
    with pytest.raises(MergebenchError, match=told):
        read()


def test_a_subset_is_used_or_refused(own_set):
    read = own_set({"train": ["a"], "test": ["a"]}, {"train": [0], "test": [0]})
    assert read("2").parts
    with pytest.raises(MergebenchError, match="`subset` is its partition, a number, not 'x'"):
        read("x")
    with pytest.raises(MergebenchError, match="torchvision:KMNIST has no subsets; leave out `subset`"):
        torchvision_sets.find("KMNIST", "x", Place(16, None, False)).read({"train"})
    with pytest.raises(MergebenchError, match="choose one by `subset` .byclass, bymerge, balanced, letters"):
        torchvision_sets.find("EMNIST", "", Place(16, None, False)).read({"train"})


def test_classes_of_one_name_are_told_apart(own_set):
    classes = [("crane",), ("crane", "derrick"), ("dog",), ("cat",), ("cat",)]
    source = own_set({"train": classes, "test": classes}, {"train": [0, 1, 2, 3, 4], "test": [0]})()
    assert source.names == ("crane", "crane, derrick", "dog", "cat (3)", "cat (4)")


def test_what_nobody_can_download_is_not_said_to_be_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    for name in ("StanfordCars", "FER2013"):
        with pytest.raises(MergebenchError, match="put its files into [^;,]*/torchvision$"):
            torchvision_sets.find(name, "", Place(16, None, True)).read({"train"})
