"""Rows of parquet and arrow files, read where they lie: a column all at once, or cell by cell and never whole."""

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mergebench.errors import MergebenchError
from mergebench.weights.states import AGAIN

BATCH, HELD = 64, 8  # rows that are read at a time, and how many such batches are kept: what threads may lag behind

UNPACKED, RATIO = 2**28, 200  # bytes of a file's columns, and times its own: no encoded images are so much more

_SAYING = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)  # columns that may


@dataclass(frozen=True)
class _Piece:
    """Rows that are read front to back: a parquet file's row group, or a whole arrow file (which is mapped).

    Args:
        file: which they are in.
        rows: how many.
        read: column -> its values, in batches.
        paths: column of structs -> their fields `path`, in batches; none where every row has `bytes`, which are not
            read to tell.
    """

    file: Path
    rows: int
    read: Callable[[str], Iterator[pa.Array]]
    paths: Callable[[str], Iterator[pa.Array]]


class Table:
    """The rows of several files, one behind the other.

    Args:
        files: parquet or arrow.

    Raises:
        MergebenchError: a file that cannot be read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._schemas: list[pa.Schema] = []
        self._pieces: list[_Piece] = []
        for file in files:
            with _reading(file):
                schema, pieces = (_parquet if file.suffix == ".parquet" else _arrow)(file)
                str(schema.names)  # of a damaged file they may be no text
            self._schemas.append(schema)
            self._pieces += pieces

    def type_of(self, column: str) -> pa.DataType:
        """What a column holds.

        Raises:
            MergebenchError: a file that has no such column, or holds something else in it than the first.
        """
        for file, schema in zip(self._files, self._schemas, strict=True):
            if column not in schema.names:
                told = ", ".join(schema.names)
                raise MergebenchError(f"{file} has no column {column!r}; there are: {told} (see `image`, `label`)")
            found, first = schema.field(column).type, self._schemas[0].field(column).type
            if found != first:
                raise MergebenchError(f"{file}: column {column!r} is {found}, but in {self._files[0].name} {first}")
        return first

    def columns(self) -> list[str]:
        """What the columns of all files are called, each once."""
        return list(dict.fromkeys(name for schema in self._schemas for name in schema.names))

    def said_in(self, column: str, first: bool = False) -> set[str]:
        """The different texts, names of classes, whole numbers or truths in a column; nothing where it holds others.

        Args:
            column: which.
            first: only those of the first rows.
        """
        schemas = [schema for schema in self._schemas if column in schema.names]
        kinds = {schema.field(column).type for schema in schemas}
        named = _names(schemas[0], column)
        if len(schemas) < len(self._schemas) or len(kinds) > 1 or not any(is_(next(iter(kinds))) for is_ in _SAYING):
            return set()
        values = self._first(column) if first else self.values(column)
        there = {value for value in values if value is not None}
        return {named[v] if named and isinstance(v, int) and 0 <= v < len(named) else str(v) for v in there}

    def _first(self, column: str) -> list[Any]:
        for piece in self._pieces:
            with _reading(piece.file):
                for batch in piece.read(column):
                    first: list[Any] = batch[:BATCH].to_pylist()
                    return first
        return []

    def names(self, column: str) -> set[tuple[str, ...] | None]:
        """What the files call the labels 0, 1, ... of a column, as `datasets` writes it into them; None: nothing."""
        return {_names(schema, column) for schema in self._schemas}

    def values(self, column: str) -> list[Any]:
        """All of a column.

        Raises:
            MergebenchError: it is broken.
        """
        found: list[Any] = []
        for piece in self._pieces:
            with _reading(piece.file):
                found += (value for batch in piece.read(column) for value in batch.to_pylist())
        return found

    def paths(self, column: str) -> set[str]:
        """What a column may name as files of images: nothing where it holds all images itself.

        Raises:
            MergebenchError: it is not there, or broken.
        """
        kind, found = self.type_of(column), set()
        if pa.types.is_string(kind):
            found.update(self.values(column))
        elif pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
            for piece in self._pieces:
                with _reading(piece.file):
                    found.update(path for batch in piece.paths(column) for path in batch.to_pylist())
        return {path for path in found if isinstance(path, str)}

    def cells(self, column: str) -> "Cells":
        """A column by row."""
        return Cells(self._pieces, column)


class Cells:
    """A column's values by row, for several threads that go through its rows in about their order.

    Args:
        pieces: the table's.
        column: which.
    """

    def __init__(self, pieces: Sequence[_Piece], column: str) -> None:
        self._pieces, self._column = pieces, column
        self._starts = list(accumulate((piece.rows for piece in pieces), initial=0))
        self._held: deque[tuple[int, pa.Array]] = deque(maxlen=HELD)
        self._lock = Lock()
        self._piece, self._next, self._batches = -1, 0, iter(())  # what is being read, and from which row on

    def __getitem__(self, row: int) -> Any:
        with self._lock:
            start, batch = self._batch(row)
        return batch[row - start].as_py()

    def _batch(self, row: int) -> tuple[int, pa.Array]:
        """The first row of the batch that a row is in, and the batch."""
        for start, batch in self._held:
            if start <= row < start + len(batch):
                return start, batch
        piece = bisect_right(self._starts, row) - 1
        if piece != self._piece or row < self._next:
            self._piece, self._next = piece, self._starts[piece]
            self._batches = self._pieces[piece].read(self._column)
        for batch in self._batches:
            start, self._next = self._next, self._next + len(batch)
            if row < self._next:
                self._held.append((start, batch))
                return start, batch
        raise MergebenchError("its file has fewer rows than it says")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """What goes wrong in the block says, in one line, in which file."""
    try:
        yield
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MergebenchError(f"cannot read {file} ({reason}); {AGAIN}") from error


def _check_unpacked(file: Path, described: pq.FileMetaData) -> None:
    """Refuses a file that unpacks to what no memory holds.

    By sums alone: of damaged metadata, to ask for a column's ends the process.
    """
    unpacked = sum(described.row_group(group).total_byte_size for group in range(described.num_row_groups))
    packed = file.stat().st_size
    if unpacked > max(UNPACKED, RATIO * packed):
        raise MergebenchError(
            f"{file} unpacks from {packed:,} bytes to {unpacked:,}, as no images do; write it anew without such values"
        )


def _parquet(file: Path) -> tuple[pa.Schema, list[_Piece]]:
    described = pq.read_metadata(file)
    _check_unpacked(file, described)

    def read(group: int, column: str) -> Iterator[pa.Array]:
        # Through a small buffer: a file may be a single row group, and larger than memory.
        with pq.ParquetFile(file, metadata=described, buffer_size=2**20, pre_buffer=False) as opened:
            for batch in opened.iter_batches(BATCH, [group], [column], use_threads=False):
                yield batch.column(0)

    def paths(group: int, column: str) -> Iterator[pa.Array]:
        leaves = map(described.row_group(group).column, range(described.num_columns))
        held = next((leaf.statistics for leaf in leaves if leaf.path_in_schema == f"{column}.bytes"), None)
        if held is None or not held.has_null_count or held.null_count:
            yield from (batch.field("path") for batch in read(group, f"{column}.path"))

    rows = [described.row_group(group).num_rows for group in range(described.num_row_groups)]
    pieces = [_Piece(file, count, partial(read, group), partial(paths, group)) for group, count in enumerate(rows)]
    return described.schema.to_arrow_schema(), pieces


def _arrow(file: Path) -> tuple[pa.Schema, list[_Piece]]:
    def opened() -> pa.Table:
        with pa.memory_map(str(file)) as mapped:
            return pa.ipc.open_stream(mapped).read_all()

    def read(column: str) -> Iterator[pa.Array]:
        return iter(opened().column(column).chunks)

    def paths(column: str) -> Iterator[pa.Array]:
        for batch in read(column):
            if batch.type.get_field_index("bytes") < 0 or batch.field("bytes").null_count:
                yield batch.field("path")

    table = opened()
    table.validate(full=True)  # or an offset that lies beyond its column would be read as memory of others
    return table.schema, [_Piece(file, len(table), read, paths)]


def _names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    try:
        feature = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"][column]
        names = feature["names"]
    except (ValueError, LookupError, TypeError, RecursionError):  # no such note, or one of another shape
        return None
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if listed and names else None
