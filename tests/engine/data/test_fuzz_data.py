"""Described data after accidents: images of one size and labels of their classes, or a MergebenchError."""

import io
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutating import fuzzed, mutated
from PIL import Image

from mergebench.data import csv_file, folders, tables
from mergebench.data.source import KINDS, Part, open_image
from mergebench.errors import MergebenchError, on_one_line


def picture(number, kind="PNG"):
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", sorted({*KINDS.values()}))
def test_images(kind):
    @fuzzed
    @given(mutated(picture(1, kind)))
    def decodes(content):
        part = Part(np.zeros(1, dtype=np.int64), lambda index: open_image(io.BytesIO(content)), str)
        with suppress(MergebenchError):
            assert part.table(8, "white", 1.0).image(0).shape == (8, 8, 3)

    decodes()


def looked_through(found, asked=("train", "test")):
    source = found.read(set(asked))
    for part in source.parts.values():
        assert part.labels.dtype == np.int64 and (
            source.names is None or part.labels.max(initial=0) < len(source.names)
        )
        for index in range(len(part.labels)):
            on_one_line(part.told(index))
            with suppress(MergebenchError):
                part.table(8).image(index)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_files(separator, tmp_path):
    rows = [("image", "label", "split"), *((f"p{n}.png", "ab"[n % 2], ("train", "test")[n % 3 == 0]) for n in range(6))]
    for number in range(6):
        (tmp_path / f"p{number}.png").write_bytes(picture(number))
    path = tmp_path / ("mine.tsv" if separator == "\t" else "mine.csv")

    @fuzzed
    @given(mutated("\n".join(map(separator.join, rows)).encode()))
    def reads(content):
        path.write_bytes(content)
        with suppress(MergebenchError):
            looked_through(csv_file.find(path, "image", "label"))

    reads()


NAME = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


def test_folders(tmp_path):
    """Whatever folders and files are called."""
    places = st.lists(st.tuples(st.sampled_from(["", "train/", "test/", "Test/"]), NAME, NAME), min_size=1, max_size=6)
    count = 0

    @fuzzed
    @given(places)
    def reads(chosen):
        nonlocal count
        count += 1
        root = tmp_path / str(count)
        for number, (split, label, file) in enumerate(chosen):
            with suppress(OSError):
                (root / split / label).mkdir(parents=True, exist_ok=True)
                (root / split / label / f"{file}.png").write_bytes(picture(number))
        with suppress(MergebenchError):
            looked_through(folders.find(root, {"train", "test"}))

    reads()


def _written(kind):
    """As bytes in parquet: in a column of structs pyarrow ends the process over some damaged metadata."""
    file, labels = io.BytesIO(), pa.array([0, 1, 0, 1])
    if kind == "parquet":
        pq.write_table(pa.table({"image": [picture(n) for n in range(4)], "label": labels}), file)
    else:
        struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        images = pa.array([{"bytes": picture(n), "path": None} for n in range(4)], struct)
        table = pa.table({"image": images, "label": labels})
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables(kind, tmp_path):
    path = tmp_path / f"train-00000-of-00001.{kind}"

    @fuzzed
    @given(mutated(_written(kind)))
    def reads(content):
        path.write_bytes(content)
        with suppress(MergebenchError):
            looked_through(tables.find(tmp_path, {"train"}, "", "image", "label"))

    reads()
