"""Tables whose columns may say the split, and data sets on the hub that are no tables: refused with what helps."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mergebench.errors import MergebenchError

TRAIN = range(12)


def rows(path, encoded, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"image": [encoded(n) for n in TRAIN], "label": [n % 2 for n in TRAIN]}
    pq.write_table(pa.table(table | more), path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("split", ["train", "test"]),
        (" Usage", ["Training", "PublicTest"]),
        ("kind", ["train", "test"]),
        ("is_test", [False, True]),
        ("fold", [0, 1]),
        ("set", ["a", "b"]),
    ],
)
def test_a_column_that_looks_like_a_split_is_refused_until_somebody_says_that_none_does(
    tmp_path, encoded, placed, column, values
):
    path = tmp_path / "one/data.parquet"
    rows(path, encoded, **{column: values * 6})
    with pytest.raises(MergebenchError, match=f"column '{column}' looks like a split .*`split: ''`"):
        placed(data="one")
    assert f"passed over: columns '{column}'" in placed(data="one", split="").told
    rows(path, encoded, **{column: ["train"] * 12})
    assert f"passed over: columns '{column}'" in placed(data="one").told


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            ("script.py", "README.md"),
            "owner/it is a script, which is not run; owner/it@refs/convert/parquet usually has",
        ),
        (("train/a/1.png",), "owner/it is a folder of images; give .*datasets/owner/it$"),
        (("train.zip",), "owner/it is in archives; unpack those in .*datasets/owner/it and give the folder"),
        (("data.bin",), "owner/it has no parquet or arrow files of these splits; give a folder, a .csv file"),
    ],
)
def test_a_data_set_without_tables_is_told_with_what_helps(tmp_path, placed, files, told):
    for file in files:
        path = tmp_path / "hub/datasets/owner/it" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with pytest.raises(MergebenchError, match=told):
        placed(data="owner/it", root=tmp_path / "hub")
    if files[0].endswith(".py"):
        with pytest.raises(MergebenchError, match="has but one revision of it, and not refs/convert/parquet"):
            placed(data="owner/it@refs/convert/parquet", root=tmp_path / "hub")


def test_a_revision_is_told_where_a_folder_stands_for_the_hub(tmp_path, encoded, placed):
    rows(tmp_path / "hub/datasets/owner/it/train.parquet", encoded)
    task = placed(data="owner/it@v2", root=tmp_path / "hub")
    assert "revision 'v2', for" in task.told


def test_a_table_of_no_split_s_name_is_told_with_the_remedy(tmp_path, encoded, placed):
    rows(tmp_path / "one/whatever.parquet", encoded)
    with pytest.raises(MergebenchError, match="there are: whatever.parquet .*rename them, or name it under `splits:`"):
        placed(data="one")


def test_of_many_data_sets_in_one_folder_some_are_told(tmp_path, encoded, placed):
    for number in range(30):
        rows(tmp_path / f"many/set{number:02}/train.parquet", encoded)
    with pytest.raises(MergebenchError, match=r"several data sets: set00, set01, set02, ...; choose one by `subset`"):
        placed(data="many")
