"""A CSV file of images and labels."""

import pytest

from mergebench.data import csv_file
from mergebench.data.image_cache import load_split
from mergebench.errors import MergebenchError

ALL = {"train", "test", "validation"}


@pytest.fixture
def table(image_folder, tmp_path):
    """Writes a CSV file beside images 0 to 9."""
    image_folder(shots=range(10))

    def written(*lines, header="image,label"):
        path = tmp_path / "mine.csv"
        path.write_text("\n".join((header, *lines)), encoding="utf-8-sig")
        return path

    return written


def read(path):
    return csv_file.find(path, "image", "label").read(ALL)


def rows(labels, split=""):
    return [f"pictures/shots/{i:03}.png,{label}{split}" for i, label in enumerate(labels)]


def test_labels_are_names_and_paths_start_from_the_file(table, picture):
    source = read(table(*rows(["rose", "oak", '"rose, wild"'])))
    assert source.names == ("oak", "rose", "rose, wild") and source.parts["train"].labels.tolist() == [1, 0, 2]
    assert source.parts["train"].image(1).tobytes() == picture(1).tobytes()


def test_labels_that_are_all_numbers_are_ids(table):
    source = read(table(*rows([2, 10, 0])))
    assert source.names is None and source.parts["train"].labels.tolist() == [2, 10, 0]
    assert read(table(*rows([2, "x"]))).names == ("2", "x")


def test_a_column_split_keeps_splits_apart(table):
    path = table(*rows("ab", ",train"), *rows("ba", ",test"), *rows("a", ","), header="image,label,split")
    parts = read(path).parts
    assert {name: part.labels.tolist() for name, part in parts.items()} == {"train": [0, 1, 0], "test": [1, 0]}


def test_splits_are_known_whatever_their_case_and_others_are_refused(table):
    path = table(*rows("ab", ",Train"), *rows("ba", ",TEST"), header="image,label,split")
    assert {name: part.labels.tolist() for name, part in read(path).parts.items()} == {"train": [0, 1], "test": [1, 0]}
    path = table(*rows("ab", ",train"), *rows("ba", ",holdout"), header="image,label,split")
    with pytest.raises(MergebenchError, match="mine.csv: there is a split 'holdout'; name it under `splits:`"):
        read(path)


def test_a_csv_file_is_a_task(table, placed):
    table(*rows("abababab"), header="file,kind")
    task = placed(data="mine.csv", image="file", label="kind", classes=["B", "A"])
    made = {split: load_split(task, split).labels.tolist() for split in task.card.splits}
    assert sorted(label for labels in made.values() for label in labels) == [0] * 4 + [1] * 4


def test_the_key_knows_the_images_and_the_table(table, tmp_path):
    path = table(*rows("ab"))
    found = [csv_file.find(path, "image", "label").identity]
    (tmp_path / "pictures/shots/001.png").write_bytes(b"another")
    found.append(csv_file.find(path, "image", "label").identity)
    found.append(csv_file.find(table(*rows("aba")), "image", "label").identity)
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("lines", "header", "told"),
    [
        (rows("a"), "path,label", "has no column 'image'; there are: path, label"),
        (rows("a"), "image,kind", "has no column 'label'; there are: image, kind"),
        (["gone.png,a"], "image,label", "line 2: no image at "),
        ([*rows("a"), "pictures/shots/001.png,"], "image,label", "line 3: an image and a label are needed"),
        ([*rows("a"), "pictures/shots/001.png"], "image,label", "line 3: an image and a label are needed"),
        (['"a'], "image,label", "cannot read"),
        ([], "image,label", "names no images"),
    ],
)
def test_tables_that_do_not_name_images_and_labels_are_refused(table, lines, header, told):
    path = table(*lines, header=header)
    with pytest.raises(MergebenchError) as caught:
        csv_file.find(path, "image", "label")
    assert told in str(caught.value) and str(path) in str(caught.value)


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path, table):
    with pytest.raises(MergebenchError, match="cannot read .*none.csv"):
        csv_file.find(tmp_path / "none.csv", "image", "label")
    path = table()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MergebenchError, match="cannot read .*mine.csv"):
        csv_file.find(path, "image", "label")
