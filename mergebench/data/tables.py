"""Parquet and arrow files, as the hub lays data sets out and as the library `datasets` saves them."""

import io
import os.path
import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergebench.data import splits
from mergebench.data.labels import check_seen, normal
from mergebench.data.source import Found, Part, Source, below, identity_of, open_image
from mergebench.errors import MergebenchError, on_one_line
from mergebench.weights.reading import plain_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

    from mergebench.data.rows import Table

SUFFIXES = (".parquet", ".arrow")
NOTES = ("README.md", "dataset_infos.json", "*dataset_info.json", "*dataset_dict.json", "*state.json")

_NUMBERED = re.compile(r"(?:^|-)(\d+)-of-(\d+)(-[0-9a-f]{16})?$")  # how a split's files are named where they are many


def is_table(root: Path) -> bool:
    """Whether a folder holds parquet or arrow files."""
    return any(file.suffix in SUFFIXES for file in _files(root))


def patterns(wanted: Collection[str], subset: str) -> list[str]:
    """Which files of a data set on the hub are needed to read these splits of it, or all splits if none is named."""
    within = f"*{subset}*" if subset else "*"
    names = [f"{within}{split}*" for split in sorted(wanted)] or [within]
    return [*NOTES, *(name + suffix for name in names for suffix in SUFFIXES)]


def find(
    root: Path,
    wanted: set[str],
    subset: str,
    image: str,
    label: str,
    identity: str = "",
    *,
    unsplit: bool = False,
    outside: bool = False,
) -> Found:
    """A folder of tables.

    Args:
        root: the folder.
        wanted: names of splits.
        subset: the configuration that is meant, where the folder has several.
        image, label: names of the columns.
        identity: what its content is known by; that of its files, and of those that cells name, if empty.
        unsplit: whether somebody has said that no column says the split.
        outside: whether cells may name files that do not lie in the folder.

    Raises:
        MergebenchError: no tables of these splits, or several configurations; without an identity, also tables that
            cannot be read.
    """
    files, others = _by_split(root, wanted, subset)

    @cache
    def table(split: str) -> "Table":
        from mergebench.data.rows import Table

        return Table(files[split])

    def read(asked: set[str]) -> Source:
        there = {split: table(split) for split in files if split in asked}
        return _source(there, root, subset, image, label, unsplit=unsplit, within=None if outside else root)

    told: tuple[str, ...] = ()
    if not identity:
        unused = {column for split in files for column in table(split).columns()} - {image, label}
        told = (f"columns {', '.join(map(repr, sorted(unused)))}",) if unused else ()
        for split in [] if unsplit else files:
            _check_columns(table(split), split, (image, label), root)
        every = {file for paths in files.values() for file in paths}
        every |= {root / path for split in files for path in table(split).paths(image)}
        every |= {root / "README.md", root / "dataset_infos.json"}
        identity = identity_of(root, filter(os.path.isfile, every))
    return Found(identity, read, splits=(*files, *others), passed_over=told)


def _files(root: Path) -> list[Path]:
    found = [file for file in below(root, whole=False) if file.suffix in SUFFIXES]
    # `datasets` leaves files of its own, cache-*, beside those that it has saved.
    return [file for file in found if not any(part.startswith("cache-") for part in file.relative_to(root).parts)]


def _by_split(root: Path, wanted: set[str], subset: str) -> tuple[dict[str, list[Path]], set[str]]:
    """Split -> its files; and what there is besides, by its usual name or else by its file's.

    A file belongs to the split that stands, in any case, in its name or in that of a folder.
    """
    found: dict[str, list[Path]] = {}
    others = set()
    tables = _files(root)
    for file in tables:
        words = _words(file.relative_to(root))
        if subset and subset not in words:
            continue
        # `save_to_disk` of one data set without splits: data-00000-of-00001.arrow.
        split = splits.meant(_said(words, wanted), wanted) or ("train" if words == ["data"] else None)
        if split is not None:
            found.setdefault(split, []).append(file)
        else:
            others.add(_said(words, splits.wanted({})) or str(file.relative_to(root)))
    if not found:
        told = f" of subset {subset!r}" if subset else ""
        names = ", ".join(str(file.relative_to(root)) for file in tables[:3]) or "none"
        raise MergebenchError(
            f"{root} has no parquet or arrow files{told} for {', '.join(sorted(wanted))}; there are: {names} (a split "
            "is named by its files: rename them, or name it under `splits:`)"
        )
    for split, files in found.items():
        folders = {_without(file.relative_to(root), split) for file in files}
        if len(folders) > 1:
            told = ", ".join(sorted(folders)[:3]) + ", ..." * (len(folders) > 3)
            raise MergebenchError(f"{root} holds several data sets: {told}; choose one by `subset`")
        _check_whole(files, root, split)
    return found, others


def _check_whole(files: list[Path], root: Path, split: str) -> None:
    """Files that are numbered "-of-N" are all there, each once, and no other is beside them; all spell it alike."""
    names = ", ".join(file.name for file in files[:3])
    again = MergebenchError(f"{root}: split {split!r} is there more than once ({names}, ...); remove what is old")
    if len({_said(_words(file.relative_to(root)), (split,)) for file in files}) > 1:
        raise again
    numbered = [_NUMBERED.search(file.stem) for file in files]
    if not any(numbered):
        return
    alone = next((file for file, number in zip(files, numbered, strict=True) if number is None), None)
    totals = sorted({int(number[2]) for number in numbered if number})
    there = [int(number[1]) for number in numbered if number]
    lacking = sorted(set(range(totals[0])) - set(there))
    if alone is not None or len(totals) > 1 or len(set(there)) < len(there):
        raise again
    if lacking:
        raise MergebenchError(
            f"{root}: of split {split!r}, file {lacking[0]} of 0 to {totals[0] - 1} is missing"
            f"{f', and {len(lacking) - 1} more' * (len(lacking) > 1)}; fetch or copy the data set again"
        )


def _words(path: Path) -> list[str]:
    """What a table's path says: its folders, and its name without numbers, whole and in its parts."""
    stem = _NUMBERED.sub("", path.stem)
    return [*path.parent.parts, *([stem] if "-" in stem else []), *stem.split("-")]


def _said(words: list[str], names: Collection[str]) -> str:
    """The last of a path's words that means one of these splits; empty if none does."""
    return next((word for word in reversed(words) if splits.meant(word, names) is not None), "")


def _without(path: Path, split: str) -> str:
    """What tells a split's file from that of another configuration."""
    stem = re.sub(r"(^|-)\d+(-of-\d+)?(-[0-9a-f]{16})?$", "", path.stem)
    words = [*path.parent.parts, *stem.split("-")]
    return "/".join(word for word in words if word.lower() not in (split.lower(), "data", "")) or "."


def _source(
    tables: "dict[str, Table]", root: Path, subset: str, image: str, label: str, *, unsplit: bool, within: Path | None
) -> Source:
    import numpy as np
    import pyarrow as pa

    for split, table in tables.items():
        kind = table.type_of(image)
        if not unsplit:
            _check_columns(table, split, (image, label), root)
        if not _encoded(kind):
            raise MergebenchError(f"{root}: column {image!r} is {kind}, not the bytes of image files")
    features = set().union(*(table.names(label) for table in tables.values()))
    if len(features) > 1:
        raise MergebenchError(f"{root}: {' and '.join(tables)} name their classes differently")
    # Of a column that holds something large, not even the first value need be read.
    read = {s: [None] if pa.types.is_nested(t.type_of(label)) else t.values(label) for s, t in tables.items()}
    columns = {split: np.asarray(values) for split, values in read.items()}
    names = next(iter(features), None) or _noted(root, subset, label)
    kinds = {column.dtype.kind for column in columns.values()}
    if names is None and kinds == {"U"}:
        columns = {split: np.asarray([normal(str(name)) for name in column]) for split, column in columns.items()}
        names = tuple(sorted({str(name) for column in columns.values() for name in column}))
        check_seen(names, f"{root}: column {label!r}")
        columns = {split: np.searchsorted(names, column) for split, column in columns.items()}
    elif not kinds <= set("iub"):
        raise MergebenchError(f"{root}: column {label!r} holds neither whole numbers nor names in every row")
    parts = {s: _part(t, columns[s].astype(np.int64), image, root, s, within) for s, t in tables.items()}
    return Source(parts, names)


def _check_columns(table: "Table", split: str, known: Collection[str], root: Path) -> None:
    """Refuses a column that says of some rows that they are of another split than their file."""
    for column in table.columns():
        if column in known:
            continue
        speaks = splits.speaks_of_splits(column)
        if not speaks and not splits.look_like(table.said_in(column, first=True)):
            continue
        values = table.said_in(column)
        others = any(splits.meant(value, (split,)) is None for value in values)
        if others and (splits.look_like(values) or (speaks and 1 < len(values) <= splits.FEW)):
            raise MergebenchError(
                f"{root}: column {column!r} looks like a split ({', '.join(sorted(values)[:3])}), and all its rows are "
                f"in files of {split!r}; write a file for each split, or say that none does (`split: ''`)"
            )


def _encoded(kind: "pa.DataType") -> bool:
    """Whether a column of this type may hold images: bytes, paths, or both as `datasets` has them."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {"bytes", "path"} & {field.name for field in kind} != set()
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string))


def _part(table: "Table", labels: Any, image: str, root: Path, split: str, within: Path | None) -> Part:
    cells = table.cells(image)

    def held(index: int) -> Path | bytes:
        return _held(cells[index], root, within)

    return Part(labels, lambda index: _opened(held(index)), _teller(root, split), held)


def _opened(held: Path | bytes) -> "Image.Image":
    """The image that a cell holds, or names by a path."""
    return open_image(io.BytesIO(held) if isinstance(held, bytes) else held)


def _held(cell: Any, root: Path, within: Path | None) -> Path | bytes:
    """What a cell holds: bytes, or the path of a file that lies in a folder, wherever if None."""
    data: bytes | str | None = cell.get("bytes") if isinstance(cell, dict) else cell
    path: str | None = cell.get("path") if isinstance(cell, dict) and data is None else None
    if isinstance(data, str):
        data, path = None, data
    if data is not None:
        return data
    if path is None:
        raise MergebenchError("the cell is empty")
    # Whoever made the table says what is opened: never more than what lies beside it.
    file: Path = (root / path).resolve()
    if within is not None and not file.is_relative_to(within.resolve()):
        raise MergebenchError(
            f"the cell names {path}, which does not lie in {root}; move it there, or allow it (--outside, "
            "`outside: true`)"
        )
    return file


def _teller(root: Path, split: str) -> Callable[[int], str]:
    return lambda index: f"row {index} of {split!r} in {root}"


def _names(feature: Any) -> tuple[str, ...] | None:
    names = getattr(feature, "names", None)
    return tuple(names) if names else None


def _noted(root: Path, subset: str, label: str) -> tuple[str, ...] | None:
    """Names of labels from the notes beside the tables, where the tables themselves have none."""
    from datasets.info import DatasetInfosDict

    try:
        for note in map(root.joinpath, ("README.md", "dataset_infos.json")):
            if os.path.lexists(note):
                plain_bytes(note)
        infos = DatasetInfosDict.from_directory(str(root))
        info = infos.get(subset or "default") or (next(iter(infos.values())) if len(infos) == 1 else None)
        return _names(info.features[label]) if info and label in (info.features or {}) else None
    except Exception as error:  # noqa: BLE001 (other people's notes, read by other people's code)
        told = on_one_line(error, 200)
        raise MergebenchError(
            f"{root}: its README.md or dataset_infos.json cannot be read ({told}); correct or remove it"
        ) from None
