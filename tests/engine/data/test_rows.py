"""Rows of parquet and arrow files: each is what was written, in whatever order threads ask, and few are in memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from mergebench.data import rows
from mergebench.errors import MergebenchError

CELLS = [f"cell {number}".encode() * 3 for number in range(1000)]


@pytest.fixture(params=["parquet", "arrow"])
def files(request, tmp_path):
    """A thousand cells in three files, of several row groups each."""
    found = []
    for start, stop in ((0, 300), (300, 301), (301, 1000)):
        table = pa.table({"image": CELLS[start:stop], "label": list(range(start, stop))})
        found.append(tmp_path / f"{start}.{request.param}")
        if request.param == "parquet":
            pq.write_table(table, found[-1], row_group_size=130)
        else:
            Dataset(table).save_to_disk(tmp_path / "saved")
            (tmp_path / "saved/data-00000-of-00001.arrow").rename(found[-1])
    return found


@pytest.mark.parametrize(
    "order",
    [range(1000), range(999, -1, -1), range(0, 1000, 137), np.random.default_rng(0).permutation(1000)[:200].tolist()],
    ids=["forwards", "backwards", "with gaps", "at random"],
)
def test_a_row_is_what_was_written_whatever_the_order(files, order):
    table = rows.Table(files)
    cells = table.cells("image")
    assert [cells[row] for row in order] == [CELLS[row] for row in order]
    assert table.values("label") == list(range(1000))


def test_several_threads_get_their_own_rows(files):
    cells = rows.Table(files).cells("image")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(cells.__getitem__, range(1000))) == CELLS


def test_rows_in_order_are_read_once(tmp_path, monkeypatch):
    pq.write_table(pa.table({"image": CELLS}), tmp_path / "a.parquet", row_group_size=300)
    read, before = [], pq.ParquetFile.iter_batches

    def watched(self, size, groups, *more, **options):
        read.append(groups)
        return before(self, size, groups, *more, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    cells = rows.Table([tmp_path / "a.parquet"]).cells("image")
    # As threads ask: a few rows late, also across the end of a row group.
    for row in range(0, 1000, 10):
        for late in (0, 7, 3):
            assert cells[row + late] == CELLS[row + late]
        assert cells[max(0, row - 100)] == CELLS[max(0, row - 100)]
    assert read == [[0], [1], [2], [3]]


def test_a_single_row_group_is_never_whole_in_memory(tmp_path):
    large = [np.random.default_rng(number).bytes(20_000) for number in range(3000)]
    # A page is decompressed whole, whoever reads it.
    pages = {"row_group_size": 3000, "write_batch_size": 50, "use_dictionary": False}
    pq.write_table(pa.table({"image": large}), tmp_path / "a.parquet", **pages)
    before = pa.total_allocated_bytes()
    cells, most = rows.Table([tmp_path / "a.parquet"]).cells("image"), 0
    for row in range(0, 3000, 10):
        assert cells[row] == large[row]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 25e6  # of 60


def test_files_that_hold_other_columns_than_the_first_are_refused(tmp_path):
    pq.write_table(pa.table({"image": CELLS[:3], "label": [1, 2, 3]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": CELLS[:3], "label": ["1", "2", "3"]}), tmp_path / "b.parquet")
    table = rows.Table([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    with pytest.raises(MergebenchError, match="b.parquet: column 'label' is string, but in a.parquet int64"):
        table.type_of("label")
    with pytest.raises(MergebenchError, match="a.parquet has no column 'png'; there are: image, label"):
        table.type_of("png")


def test_a_file_whose_rows_are_broken_is_named_in_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": CELLS}), path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 300 + content[304:])  # what describes it, at its end, is whole
    with pytest.raises(MergebenchError, match=f"^cannot read {path} .*; delete it, and download or copy it again$"):
        rows.Table([path]).values("image")
