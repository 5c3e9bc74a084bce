"""Caches, tables and notes that lie: made anew, or refused with their names, within bounds."""

import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from guard import bounded

from mergebench.data.image_cache import _folder, load_split
from mergebench.errors import MergebenchError


def header(shape, kind="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([os.system, 1], dtype=object), allow_pickle=True)
    return file.getvalue()


def resized(folder, name, content):
    """Another file, of which the note says the right size."""
    (folder / name).write_bytes(content)
    note = folder / f"{name.split('.')[0]}.json"
    told = json.loads(note.read_text())
    told["bytes"] = [(folder / f"train.{part}.npy").stat().st_size for part in ("images", "labels")]
    note.write_text(json.dumps(told))


CACHES = {
    "labels without end": lambda f: resized(f, "train.labels.npy", header((10**12,), "<i8")),
    "labels of objects": lambda f: resized(f, "train.labels.npy", pickled()),
    "images without end": lambda f: resized(f, "train.images.npy", header((10**9, 224, 224, 3))),
    "images of objects": lambda f: resized(f, "train.images.npy", pickled()),
    "a deep note": lambda f: (f / "train.json").write_text("[" * 100_000),
    "a list": lambda f: (f / "train.json").write_text("[1]"),
    "a note of nothing": lambda f: (f / "train.json").write_text("{}"),
    "no digest": lambda f: (f / "train.json").write_text(json.dumps({"bytes": [
        (f / f"train.{part}.npy").stat().st_size for part in ("images", "labels")
    ]})),
    "a note without end": lambda f: os.truncate(f / "train.json", 10**11),
    "a pipe": lambda f: ((f / "train.json").unlink(), os.mkfifo(f / "train.json")),
}  # fmt: skip


@pytest.mark.parametrize("kind", CACHES)
def test_cached_images_that_lie_are_made_anew(kind, image_folder, placed, tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    image_folder(a=range(12), b=range(12, 24))
    task = placed(data="pictures")
    images = np.array(load_split(task, "train").images)
    CACHES[kind](_folder(task))
    with bounded(kind):
        assert np.array_equal(load_split(task, "train").images, images)


def table(folder, cells, names=None, **how):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema([("image", kind), ("label", pa.int64())], {"huggingface": names} if names else None)
    rows = pa.table([pa.array(cells, kind), pa.array([n % 2 for n in range(len(cells))])], schema=schema)
    folder.mkdir(exist_ok=True)
    pq.write_table(rows, folder / "train-00000-of-00001.parquet", **how)
    return rows


@pytest.fixture
def cells(encoded):
    return [{"bytes": encoded(n), "path": None} for n in range(24)]


def test_tables_that_unpack_to_gigabytes_are_refused(cells, placed, tmp_path):
    table(tmp_path / "t", [*cells, {"bytes": bytes(2**28 + 1), "path": None}], compression="zstd")
    with bounded("a table"), pytest.raises(MergebenchError, match="train-.*parquet unpacks from"):
        placed(data="t")


def test_cells_name_no_pipe(placed, tmp_path):
    table(tmp_path / "t", [{"bytes": None, "path": f"{n}.png"} for n in range(24)])
    for number in range(24):
        os.mkfifo(tmp_path / "t" / f"{number}.png")
    with bounded("pipes"), pytest.raises(MergebenchError, match="row .* in .*/t cannot be decoded: it is no file"):
        task = placed(data="t")
        load_split(task, "train")


NOTES = {
    "deep": "[" * 100_000,
    "a list": "[1]",
    "no JSON": "{",
    "text in place of names": '{"info": {"features": {"label": {"names": "ab"}}}}',
    "numbers in place of names": '{"info": {"features": {"label": {"names": [1, 2]}}}}',
    "features of another kind": '{"info": {"features": [1]}}',
}


@pytest.mark.parametrize("kind", NOTES)
def test_a_table_s_own_notes_are_looked_at_with_suspicion(kind, cells, placed, tmp_path):
    table(tmp_path / "t", cells, NOTES[kind])
    with bounded(kind):
        assert placed(data="t").card.classes == ("0", "1")


CARDS = {
    "README.md": [
        "---\ndataset_info: [1\n---\n",
        "---\ndataset_info:\n  features: !!python/object/apply:os.system ['touch canary']\n---\n",
        "---\ndataset_info:\n- config_name: 3\n  features: [[1]]\n---\n",
    ],
    "dataset_infos.json": ["[" * 100_000, "[1]", '{"default": {"features": {"label": {"_type": "os.system"}}}}', None],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in CARDS.items() for text in texts])
def test_notes_beside_tables_are_read_or_refused_by_name(name, content, cells, placed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "t", cells)
    if content is None:
        os.mkfifo(tmp_path / "t" / name)
    else:
        (tmp_path / "t" / name).write_text(content)
    with bounded(name):
        try:
            assert placed(data="t").card.classes == ("0", "1")
        except MergebenchError as error:
            assert "README.md or dataset_infos.json cannot be read" in str(error) and "\n" not in str(error)
    assert not (tmp_path / "canary").exists()


def test_a_csv_file_of_one_endless_line_is_not_read(placed, tmp_path):
    (tmp_path / "mine.csv").write_text("image,label\n")
    os.truncate(tmp_path / "mine.csv", 10**11)
    with bounded("a sparse file"), pytest.raises(MergebenchError, match="mine.csv has more than 200,000,000 bytes"):
        placed(data="mine.csv")
    (tmp_path / "mine.csv").write_text("image,label\n" + "x" * 10_000_000 + ",a\n")
    with bounded("a cell"), pytest.raises(MergebenchError, match="cannot read .*mine.csv: field larger than"):
        placed(data="mine.csv")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "\x1b[31m.png", "a\0b.png", "~/x.png", "%2e%2e/x.png", "x" * 300]
)
def test_a_csv_file_names_no_file_elsewhere(name, placed, tmp_path):
    (tmp_path / "mine.csv").write_text(f'image,label\n"{name}",a\n')
    with pytest.raises(MergebenchError, match="mine.csv"):
        placed(data="mine.csv")
