"""Parquet and arrow files, as the hub lays them out and as `datasets` saves them; every layout gives the same task."""

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from mergebench.data import preprocessing, tables
from mergebench.data.image_cache import load_split
from mergebench.errors import MergebenchError

NAMES = ["tulip", "rose", "oak_tree"]  # in another order than the card's
CLASSES = ["Oak tree", "Rose", "Tulip"]
WANTED = {"train", "test", "validation", "valid", "val"}
TRAIN, TEST = range(12), range(50, 56)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def table(encoded):
    """Rows of images of these numbers, PNG and JPEG in turn, of class number % 3."""

    def made(numbers, label=ClassLabel(names=NAMES), image="image", column="label"):  # noqa: B008 (unchanging)
        kinds = ("PNG", "JPEG")
        rows = {image: [{"bytes": encoded(n, kinds[n % 2]), "path": None} for n in numbers]}
        ids = [n % 3 for n in numbers]
        rows[column] = ids if not isinstance(label, Value) or label.dtype != "string" else [NAMES[i] for i in ids]
        return Dataset.from_dict(rows, features=Features({image: Image(), column: label}))

    return made


def as_parquet(root, table, name="data/{}-00000-of-00001.parquet", **splits):
    for split, numbers in splits.items():
        path = root / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        table(numbers).to_parquet(path)


def expected(picture, encoded, numbers):
    """What must come out, by PIL alone: image -> class id on the card."""
    import io

    from PIL import Image as Pil

    kinds = ("PNG", "JPEG")
    return {
        preprocessing.square(Pil.open(io.BytesIO(encoded(n, kinds[n % 2]))), 16).tobytes(): {0: 2, 1: 1, 2: 0}[n % 3]
        for n in numbers
    }


def images_of(task, *splits):
    made = [load_split(task, split) for split in splits]
    return {i.tobytes(): int(n) for split in made for i, n in zip(split.images, split.labels, strict=True)}


LAYOUTS = {
    "push_to_hub": lambda root, table: as_parquet(root, table, train=TRAIN, test=TEST),
    "shards": lambda root, table: (
        [
            as_parquet(
                root, table, f"data/{{}}-0000{i}-of-00002-0123456789abcdef.parquet", train=TRAIN[6 * i : 6 * i + 6]
            )
            for i in range(2)
        ]
        and as_parquet(root, table, test=TEST)
    ),
    "converted": lambda root, table: as_parquet(root, table, "default/{}/0000.parquet", train=TRAIN, test=TEST),
    "plain": lambda root, table: as_parquet(root, table, "{}.parquet", train=TRAIN, test=TEST),
    "save_to_disk": lambda root, table: DatasetDict(train=table(TRAIN), test=table(TEST)).save_to_disk(root),
    "arrow shards": lambda root, table: DatasetDict(train=table(TRAIN), test=table(TEST)).save_to_disk(
        root, num_shards={"train": 3, "test": 1}
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images_with_labels_in_the_cards_order(
    layout, table, tmp_path, placed, picture, encoded
):
    LAYOUTS[layout](tmp_path / "rows", table)
    task = placed(data="rows", classes=CLASSES, counts={"train": 12, "test": 6})
    assert images_of(task, "test") == expected(picture, encoded, TEST)
    assert images_of(task, "train", "calibration", "validation") == expected(picture, encoded, TRAIN)


def test_a_data_set_of_the_hub_is_found_in_a_folder_laid_out_as_the_hub_is(table, tmp_path, placed, picture, encoded):
    as_parquet(tmp_path / "mirror/datasets/owner/flowers", table, train=TRAIN, test=TEST, contrast=TEST)
    for data in ("owner/flowers", "owner/flowers@v1"):
        task = placed(root=tmp_path / "mirror", data=data, classes=CLASSES, counts={"train": 12, "test": 6})
        assert images_of(task, "test") == expected(picture, encoded, TEST) and task.origin == ""
    with pytest.raises(MergebenchError, match="task 'flowers': no data set 'owner/other' in .*mirror"):
        placed(root=tmp_path / "mirror", data="owner/other")


def test_what_was_fetched_from_the_hub_is_known_by_its_commit(table, tmp_path, placed, picture, encoded, monkeypatch):
    cache, commit = tmp_path / "hub", "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    repository = cache / "datasets--owner--flowers"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    (repository / "blobs").mkdir()
    as_parquet(tmp_path / "upload", table, train=TRAIN, test=TEST)
    for number, file in enumerate(sorted((tmp_path / "upload/data").iterdir())):
        link = repository / "snapshots" / commit / "data" / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.rename(repository / "blobs" / str(number)))
    fields = {"classes": CLASSES, "counts": {"train": 12, "test": 6}}
    latest, pinned = placed(data="owner/flowers", **fields), placed(data=f"owner/flowers@{commit}", **fields)
    assert latest.origin == pinned.origin == f"owner/flowers@{commit}"
    assert images_of(latest, "test") == images_of(pinned, "test") == expected(picture, encoded, TEST)
    with pytest.raises(MergebenchError, match="has not been fetched; `mergebench fetch` does that"):
        placed(data="owner/flowers@another", **fields)


def test_a_saved_data_set_without_splits_is_train(table, tmp_path, placed, picture, encoded):
    table(TRAIN).save_to_disk(tmp_path / "rows")
    (tmp_path / "rows/cache-0123.arrow").write_bytes(b"what `datasets` keeps for itself")
    task = placed(data="rows", classes=CLASSES)
    assert images_of(task, *task.card.splits) == expected(picture, encoded, TRAIN)


def test_images_that_lie_beside_the_table_are_found(tmp_path, picture):
    (tmp_path / "pictures").mkdir()
    picture(7).save(tmp_path / "pictures/7.png")
    schema = pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()})
    rows = {"image": [{"bytes": None, "path": "pictures/7.png"}, {"bytes": None, "path": None}], "label": [0, 1]}
    pq.write_table(pa.table(rows, schema=schema), tmp_path / "train.parquet")
    part = tables.find(tmp_path, WANTED, "", "image", "label").read(WANTED).parts["train"]
    assert part.image(0).tobytes() == picture(7).tobytes()
    with pytest.raises(MergebenchError, match="the cell is empty"):
        part.image(1)


@pytest.mark.parametrize("place", ["../secret.png", "{tmp_path}/secret.png", "pictures/../../secret.png", "link.png"])
def test_no_cell_opens_what_lies_outside_the_data_set(place, tmp_path, picture):
    picture(7).save(tmp_path / "secret.png")
    (tmp_path / "rows/pictures").mkdir(parents=True)
    (tmp_path / "rows/link.png").symlink_to(tmp_path / "secret.png")
    place = place.format(tmp_path=tmp_path)
    schema = pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()})
    for name, cell in (("train", {"bytes": None, "path": place}), ("test", place)):
        rows = {"image": [cell], "label": [0]}
        pq.write_table(pa.table(rows, schema=schema if name == "train" else None), tmp_path / f"rows/{name}.parquet")
        part = tables.find(tmp_path / "rows", {name}, "", "image", "label").read(WANTED).parts[name]
        with pytest.raises(MergebenchError, match=f"the cell names .*, which does not lie in {tmp_path / 'rows'}"):
            part.image(0)


def test_bare_bytes_and_truth_values_are_images_and_labels(tmp_path, encoded, picture):
    pq.write_table(pa.table({"png": [encoded(1), encoded(2)], "tumour": [True, False]}), tmp_path / "train.parquet")
    source = tables.find(tmp_path, WANTED, "", "png", "tumour").read(WANTED)
    assert source.names is None and source.parts["train"].labels.tolist() == [1, 0]
    assert source.parts["train"].image(1).tobytes() == picture(2).tobytes()


@pytest.mark.parametrize("label", [Value("string"), Value("int64"), Value("uint8")])
def test_names_and_numbers_are_labels(label, tmp_path, table):
    table(TRAIN, label, "img", "fine_label").to_parquet(tmp_path / "train.parquet")
    source = tables.find(tmp_path, WANTED, "", "img", "fine_label").read(WANTED)
    ids = source.parts["train"].labels
    if label.dtype == "string":
        assert [source.names[i] for i in ids] == [NAMES[n % 3] for n in TRAIN]
    else:
        assert source.names is None and ids.tolist() == [n % 3 for n in TRAIN]
    assert ids.dtype == np.int64


def test_names_that_stand_in_the_readme_alone_are_read_there(tmp_path, encoded):
    pq.write_table(pa.table({"image": [encoded(1), encoded(2)], "label": [1, 0]}), tmp_path / "train.parquet")
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': rose\n          '1': tulip\n---\nFlowers.\n"
    )
    assert tables.find(tmp_path, WANTED, "", "image", "label").read(WANTED).names == ("rose", "tulip")


@pytest.mark.parametrize("name", ["{}.parquet", "data/{}-00000-of-00001.parquet", "default/{}/0000.parquet"])
def test_splits_are_known_whatever_their_case(name, table, tmp_path, placed, picture, encoded):
    as_parquet(tmp_path / "rows", table, name, Train=TRAIN, TEST=TEST)
    for fields in ({}, {"counts": {"train": 12, "test": 6}}):
        task = placed(data="rows", classes=CLASSES, **fields)
        assert not task.carved and images_of(task, "test") == expected(picture, encoded, TEST)


@pytest.mark.parametrize("other", ["testing", "dev", "test_images"])
@pytest.mark.parametrize("on_hub", [False, True])
def test_no_test_split_is_made_where_one_may_lie_under_another_name(other, on_hub, table, tmp_path, placed):
    as_parquet(tmp_path / "datasets/owner/rows", table, train=TRAIN, **{other: TEST})
    source = {"data": "owner/rows", "root": tmp_path} if on_hub else {"data": "datasets/owner/rows"}
    told = (
        f"task 'flowers': {source['data']} has no split test, but 'data/{other}-00000-of-00001.parquet'; name it under"
    )
    with pytest.raises(MergebenchError) as caught:
        placed(**source)
    assert str(caught.value).startswith(told) and len(str(caught.value).splitlines()) == 1
    assert placed(**source, splits={"test": other}).card.splits["test"] == 6
    assert placed(**source, splits={"test": other}, counts={"train": 12, other: 6}).card.splits["test"] == 6
    assert placed(**source, classes=CLASSES, counts={"train": 12}).carved


def test_further_splits_beside_a_test_split_are_passed_over(table, tmp_path, placed, picture, encoded):
    as_parquet(tmp_path / "rows", table, train=TRAIN, test=TEST, extra=range(30, 33))
    assert images_of(placed(data="rows", classes=CLASSES), "test") == expected(picture, encoded, TEST)


def test_of_a_data_set_on_the_hub_only_the_counted_splits_are_looked_for(table, tmp_path, placed):
    """What else is there depends on what was fetched before."""
    as_parquet(tmp_path / "datasets/owner/rows", table, train=TRAIN, test=TEST)
    assert placed(root=tmp_path, data="owner/rows", classes=CLASSES, counts={"train": 12}).carved


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["train-00000-of-00003", "train-00001-of-00003"], "of split 'train', file 2 of 0 to 2 is missing; fetch"),
        (["data-00003-of-00005"], "of split 'train', file 0 of 0 to 4 is missing, and 3 more; fetch"),
        (["train/00001-of-00002"], "of split 'train', file 0 of 0 to 1 is missing; fetch"),
        (
            ["train-00000-of-00001", "train-00000-of-00001-0123456789abcdef"],
            "split 'train' is there more than once (train-00000-of-00001-0123456789abcdef.parquet, train-",
        ),
        (["train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"], "is there more than once"),
        (["train", "train-00000-of-00001"], "is there more than once"),
        (["train", "Train"], "split 'train' is there more than once (Train.parquet, train.parquet, ...); remove"),
    ],
)
def test_some_of_a_splits_files_are_not_taken_for_all(names, told, tmp_path, table):
    for name in names:
        as_parquet(tmp_path / "rows", table, f"{name}.parquet", whatever=range(3))
    with pytest.raises(MergebenchError) as caught:
        tables.find(tmp_path / "rows", WANTED, "", "image", "label")
    assert told in str(caught.value) and str(tmp_path / "rows") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_name_their_classes_differently_are_refused(tmp_path, table):
    table(TRAIN).to_parquet(tmp_path / "train-00000-of-00002.parquet")
    table(TRAIN, ClassLabel(names=NAMES[::-1])).to_parquet(tmp_path / "train-00001-of-00002.parquet")
    with pytest.raises(MergebenchError, match="train name their classes differently"):
        tables.find(tmp_path, WANTED, "", "image", "label").read(WANTED)


def test_nothing_but_decoded_images_is_kept_in_the_cache(tmp_path, table, placed, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    as_parquet(tmp_path / "rows", table, train=TRAIN, test=TEST)
    images_of(placed(data="rows", classes=CLASSES), "train", "test")
    assert [folder.name for folder in (tmp_path / "cache").iterdir()] == ["images"]


def test_one_of_several_configurations_is_chosen_by_subset(tmp_path, table):
    for name, numbers in (("letters", range(3)), ("balanced", range(5))):
        as_parquet(tmp_path / "rows", table, f"{name}/{{}}-00000-of-00001.parquet", train=numbers)
    found = tables.find(tmp_path / "rows", WANTED, "letters", "image", "label").read(WANTED)
    assert len(found.parts["train"].labels) == 3
    with pytest.raises(MergebenchError, match="holds several data sets: balanced, letters; choose one by `subset`"):
        tables.find(tmp_path / "rows", WANTED, "", "image", "label")
    with pytest.raises(MergebenchError, match="has no parquet or arrow files of subset 'digits' for test, train"):
        tables.find(tmp_path / "rows", {"train", "test"}, "digits", "image", "label")


def test_files_that_changed_are_read_again(tmp_path, table):
    as_parquet(tmp_path, table, train=range(3))
    first = tables.find(tmp_path, WANTED, "", "image", "label")
    assert len(first.read(WANTED).parts["train"].labels) == 3
    as_parquet(tmp_path, table, train=range(5))
    second = tables.find(tmp_path, WANTED, "", "image", "label")
    assert second.identity != first.identity and len(second.read(WANTED).parts["train"].labels) == 5


def test_only_what_is_needed_is_asked_of_the_hub():
    from fnmatch import fnmatch

    def needed(path, wanted=("train", "test"), subset=""):
        return any(fnmatch(path, pattern) for pattern in tables.patterns(wanted, subset))

    for path in (
        "README.md",
        "data/train-00000-of-00002.parquet",
        "default/test/0000.parquet",
        "test/data-0-of-1.arrow",
    ):
        assert needed(path)
    for path in ("data/contrast-00000-of-00001.parquet", "data/validation-0-of-1.parquet", "train.zip", "model.bin"):
        assert not needed(path)
    for path in ("data/contrast-00000-of-00001.parquet", "Test.arrow", "README.md"):
        assert needed(path, wanted=())  # where counts do not say what is used
    for path in ("train.zip", "model.bin"):
        assert not needed(path, wanted=())
    assert needed("letters/train-0-of-1.parquet", subset="letters")
    assert needed("letters/Test.parquet", (), "letters") and not needed("balanced/Test.parquet", (), "letters")
    assert not needed("balanced/train-0-of-1.parquet", subset="letters")


def test_all_splits_are_fetched_where_counts_do_not_say_which_are_used(table, tmp_path, placed, monkeypatch):
    as_parquet(tmp_path / "rows", table, train=TRAIN, test=TEST)
    fetched = []
    monkeypatch.setattr(
        "mergebench.weights.hub.Hub.folder", lambda self, _, patterns, kind: fetched.append(patterns) or rows
    )
    rows = tmp_path / "rows"
    placed(data="owner/rows", classes=CLASSES, counts={"train": 12, "test": 6})
    placed(data="owner/rows", classes=CLASSES, counts={"test": 6})
    assert fetched == [tables.patterns({"train", "test"}, ""), tables.patterns((), "")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"image": "img"}, "train-00000-of-00001.parquet has no column 'img'; there are: image, label"),
        ({"label": "coarse"}, "train-00000-of-00001.parquet has no column 'coarse'; there are: image, label"),
        ({"label": "image"}, "column 'image' holds neither whole numbers nor names in every row"),
        ({"image": "label"}, "column 'label' is int64, not the bytes of image files"),
    ],
)
def test_columns_that_are_not_there_or_of_another_kind_are_refused(fields, told, tmp_path, table, placed):
    as_parquet(tmp_path / "rows", table, train=TRAIN)
    with pytest.raises(MergebenchError) as caught:
        placed(data="rows", **fields)
    assert told in str(caught.value) and str(caught.value).startswith("task 'flowers': ")


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"version https://git-lfs.github.com/spec/v1\n"])
@pytest.mark.parametrize("name", ["train.parquet", "train.arrow"])
def test_a_broken_file_is_named_in_one_line(content, name, tmp_path, placed, capfd):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / name).write_bytes(content)
    with pytest.raises(MergebenchError) as caught:
        placed(data="rows")
    assert f"task 'flowers': cannot read {tmp_path / 'rows' / name} (" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and capfd.readouterr() == ("", "")


def test_a_cell_that_is_no_image_is_named(tmp_path, placed, encoded):
    cells = [encoded(n) for n in range(4)] + [b"no image"]
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": cells, "label": [0, 1, 0, 1, 1]}), tmp_path / f"{split}.parquet")
    with pytest.raises(MergebenchError) as caught:
        load_split(placed(data=".", classes=["a", "b"], allow_duplicates=True), "test")
    told = f"task 'flowers', split 'test': row 4 of 'test' in {tmp_path} cannot be decoded: it is empty, "
    assert str(caught.value).startswith(told)
    assert len(str(caught.value).splitlines()) == 1


def test_hidden_labels_are_refused_with_a_remedy(tmp_path, placed, encoded):
    for split, label in (("train", 0), ("test", -1)):
        cells = [encoded(n) for n in range(4)]
        pq.write_table(pa.table({"image": cells, "label": [label] * 4}), tmp_path / f"{split}.parquet")
    with pytest.raises(MergebenchError, match="label -1: these labels are not public; name another split"):
        placed(data=".", classes=["a"]).load("test")
