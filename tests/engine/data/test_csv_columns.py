"""Headers, cells and encodings of CSV files as people have them: what is not used is refused or told."""

import os
import unicodedata

import pytest

from mergebench.data import csv_file
from mergebench.errors import MergebenchError

ALL = {"train", "test", "validation"}


@pytest.fixture
def table(image_folder, tmp_path):
    image_folder(shots=range(4))

    def written(text, name="mine.csv", encoding="utf-8"):
        lines = "".join(line.replace("#", f"pictures/shots/{i:03}.png") + "\n" for i, line in enumerate(text[1:]))
        (tmp_path / name).write_bytes(f"{text[0]}\n{lines}".encode(encoding))
        return tmp_path / name

    return written


def counts(path, label="label", **options):
    return {n: len(part.labels) for n, part in csv_file.find(path, "image", label, **options).read(ALL).parts.items()}


@pytest.mark.parametrize(
    "header", ["image,label,split", "image,label,Split", "image,label, split", " image , label,SPLIT"]
)
@pytest.mark.parametrize("label", ["label", " label"])
def test_a_column_split_is_known_in_any_case_and_with_blanks(table, header, label):
    assert counts(table([header, "#,a,train", "#,b,test", "#,a, train", "#,b, test"]), label) == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    ("column", "values"),
    [("Usage", ("Training", "PublicTest")), ("set", ("train", "test")), ("is_training", ("1", "0"))],
)
def test_another_column_that_looks_like_a_split_is_refused_until_it_is_named(table, column, values):
    path = table([f"image,label,{column}", *(f"#,{'ab'[i % 2]},{values[i % 2]}" for i in range(4))])
    with pytest.raises(
        MergebenchError, match=rf"column '{column}' looks like a split .*`split: {column}`.*`split: ''`"
    ):
        csv_file.find(path, "image", "label")
    found = csv_file.find(path, "image", "label", column)
    assert set(found.splits) == set(values) and not found.passed_over
    assert counts(path, split="") == {"train": 4}


def test_columns_that_are_not_used_are_told(table):
    found = csv_file.find(table(["image,label,width,note", "#,a,3,", "#,b,4,x"]), "image", "label")
    assert found.passed_over == ("columns 'width', 'note'",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (["image,label", "#,a", "#,apple, red"], "line 3: 3 cells, but the header has 2"),
        (["image,label,label", "#,a,b"], "has two columns 'label'; remove or rename one"),
        (["image,label,Split,split", "#,a,train,test"], "has two columns 'split'"),
        (["image,label", "#,1", "#,1.0", "#,2"], "labels '1' and '1.0' are one number; write it in one way"),
        (["image,label", "#,0", "#,1000000000"], "labels that are numbers stay below 1,000,000"),
        (["image,label", "#,0", "#," + "9" * 40], "labels that are numbers stay below 1,000,000"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(table, text, told):
    with pytest.raises(MergebenchError) as caught:
        csv_file.find(table(text), "image", "label")
    assert told in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(("name", "separator"), [("mine.csv", ";"), ("mine.csv", "\t"), ("mine.tsv", "\t")])
def test_cells_are_separated_by_what_the_header_is_separated_by(table, name, separator):
    path = table([line.replace(",", separator) for line in ("image,label", "#,a", "#,b")], name)
    assert csv_file.find(path, "image", "label").read(ALL).names == ("a", "b")


def test_what_is_not_utf_8_is_told_with_the_remedy(table):
    with pytest.raises(MergebenchError, match="it is not UTF-8 .byte 0xe9.; save it as UTF-8"):
        csv_file.find(table(["image,label", "#,Café"], encoding="cp1252"), "image", "label")


def test_names_and_paths_are_one_however_they_are_composed(table, image_folder, tmp_path):
    image_folder(**{unicodedata.normalize("NFD", "café"): [1]})
    path = table(["image,label", "#,Café", f"#,{unicodedata.normalize('NFD', 'Café')}", "pictures/café/001.png,Tea"])
    source = csv_file.find(path, "image", "label").read(ALL)
    assert source.names == ("Café", "Tea") and source.parts["train"].labels.tolist() == [0, 0, 1]


def test_the_key_of_what_the_first_version_read_alike_stays(table):
    keys = [csv_file.find(table([header, "#,a,train", "#,b,test"]), "image", "label").identity for header in
            ("image,label,split", "image,label,Split")]  # fmt: skip
    assert not keys[0].endswith("|2") and keys[1].endswith("|2")


@pytest.mark.parametrize("column", ["fold", "set", "Usage", "partition"])
def test_a_column_that_speaks_of_splits_by_its_name_alone_is_refused_too(table, column):
    path = table([f"image,label,{column}", *(f"#,{'ab'[i % 2]},{i % 2}" for i in range(4))])
    with pytest.raises(MergebenchError, match=rf"column '{column}' looks like a split \(0, 1\).*`split: ''`"):
        csv_file.find(path, "image", "label")
    assert counts(path, split="") == {"train": 4}
    same = table([f"image,label,{column}", "#,a,0", "#,b,0"])
    assert csv_file.find(same, "image", "label").passed_over == (f"columns '{column}'",)


def test_rows_whose_split_is_empty_are_told(table):
    path = table(["image,label,split", "#,a,train", "#,b,", "#,a,test"])
    assert csv_file.find(path, "image", "label").passed_over == ("no split in 1 rows: they are taken for train",)


def test_empty_lines_are_none(table):
    path = table(["\n ,\nimage,label", "#,a", ",", "#,b"])
    assert csv_file.find(path, "image", "label").read(ALL).parts["train"].labels.tolist() == [0, 1]


def test_whole_numbers_with_a_point_are_numbers(table, placed):
    path = table(["image,label", "#,10.0", "#,2.0", "#,1.0"])
    source = csv_file.find(path, "image", "label").read(ALL)
    assert source.names is None and source.parts["train"].labels.tolist() == [10, 2, 1]
    assert csv_file.find(path, "image", "label").identity.endswith("|2")  # the first version had them in text's order


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (["image,label", "#,1.0", "#,nan"], "label 'nan' beside numbers is no class; remove its rows, or write names"),
        (["image,label", "#,a", "#,a\u200b"], r"'a' and 'a\u200b': characters that are not seen tell no classes apart"),
        (["image,label", "#,a\0", "#,b"], r"'a\x00': characters that are not seen"),
        (["image|label", "#|a"], "there are: image|label, for cells are separated by commas, semicolons or tabs"),
        (["image,label", "pictures\\shots\\000.png,a"], "write its path with /"),
        (["image,label", "elsewhere.png,a"], "paths are relative to the file's folder"),
    ],
)
def test_cells_that_mean_nothing_are_told_with_the_remedy(table, text, told):
    with pytest.raises(MergebenchError) as caught:
        csv_file.find(table(text), "image", "label")
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_column_that_is_not_there_is_told_by_its_field(table):
    with pytest.raises(MergebenchError, match=r"no column 'fold'; there are: image, label \(see `split`\)"):
        csv_file.find(table(["image,label", "#,a"]), "image", "label", "fold")


def test_one_column_cannot_be_two(table):
    path = table(["image,label", "#,a", "#,b"])
    for label, split in (("image", None), ("label", "label")):
        with pytest.raises(MergebenchError, match="name one column twice"):
            csv_file.find(path, "image", label, split)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "mine.csv")
    with pytest.raises(MergebenchError, match="mine.csv: it is no file"):
        csv_file.find(tmp_path / "mine.csv", "image", "label")
