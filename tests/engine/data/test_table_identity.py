"""What a table is known by: its files, and the image files that its cells name in place of holding them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mergebench.data import tables
from mergebench.errors import MergebenchError

WANTED = {"train", "test"}
CELL = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write_cells(kind, file, cells):
    """Cells (bytes, path) in a file of a kind: a parquet file, with and without statistics, or one of arrow."""
    if kind == "strings":
        column = pa.array([path for _, path in cells])
    elif kind == "paths alone":
        column = pa.array([{"path": path} for _, path in cells])
    else:
        column = pa.array([{"bytes": data, "path": path} for data, path in cells], CELL)
    rows = pa.table({"image": column, "label": list(range(len(cells)))})
    if kind != "arrow":
        return pq.write_table(rows, file.with_suffix(".parquet"), write_statistics=kind != "no statistics")
    with pa.OSFile(str(file.with_suffix(".arrow")), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)


@pytest.mark.parametrize("kind", ["parquet", "no statistics", "arrow", "strings", "paths alone"])
def test_images_beside_the_table_that_changed_are_read_again(kind, tmp_path, picture):
    (tmp_path / "rows/pictures").mkdir(parents=True)
    for number in range(8):
        picture(number).save(tmp_path / f"rows/pictures/{number}.png")
    for split in ("train", "test"):
        cells = [(None, f"pictures/{number}.png") for number in range(8)] + [(None, None), (None, "gone.png")]
        write_cells(kind, tmp_path / "rows" / split, cells[:8] if split == "train" else cells)

    def identity():
        return tables.find(tmp_path / "rows", WANTED, "", "image", "label").identity

    first = identity()
    picture(9).save(tmp_path / "rows/pictures/5.png")
    second = identity()
    picture(9).save(tmp_path / "rows/gone.png")
    assert len({first, second, identity()}) == 3


def test_an_image_beside_a_table_that_holds_the_others_is_known_too(tmp_path, picture, encoded):
    write_cells("parquet", tmp_path / "train", [(encoded(1), "1.png"), (None, "2.png")])
    found = set()
    for number in (1, 2):
        picture(number).save(tmp_path / "2.png")
        found.add(tables.find(tmp_path, WANTED, "", "image", "label").identity)
    assert len(found) == 2


def test_to_know_a_table_that_holds_its_images_no_cell_is_read(tmp_path, picture, encoded):
    write_cells("parquet", tmp_path / "train", [(encoded(n), f"{n}.png") for n in range(3)])
    file = tmp_path / "train.parquet"
    picture(1).save(tmp_path / "1.png")  # what a cell's image was called by its maker: never opened
    with file.open("r+b") as cells:
        cells.seek(4)
        cells.write(bytes(file.stat().st_size - pq.read_metadata(file).serialized_size - 12))
    found = tables.find(tmp_path, WANTED, "", "image", "label")
    picture(2).save(tmp_path / "1.png")
    assert tables.find(tmp_path, WANTED, "", "image", "label").identity == found.identity
    with pytest.raises(MergebenchError, match="cannot read .*train.parquet"):
        found.read(WANTED)
