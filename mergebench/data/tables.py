"""Parquet and arrow files, as the hub lays data sets out and as the library `datasets` saves them."""

import io
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergebench.data.source import Found, Part, Source, identity_of, open_image
from mergebench.errors import MergebenchError
from mergebench.image_cache import cache_root
from mergebench.states import AGAIN

if TYPE_CHECKING:
    from datasets import Dataset

# Suffix -> what a whole file ends with; a stream of arrow's, with a message of no length.
ENDS = {".parquet": (b"PAR1",), ".arrow": (b"\xff\xff\xff\xff\0\0\0\0", b"ARROW1")}
SUFFIXES = tuple(ENDS)
NOTES = ("README.md", "dataset_infos.json", "*dataset_info.json", "*dataset_dict.json", "*state.json")


def is_table(root: Path) -> bool:
    """Whether a folder holds parquet or arrow files."""
    return any(file.suffix in SUFFIXES for file in _files(root))


def patterns(wanted: Collection[str], subset: str) -> list[str]:
    """Which files of a data set on the hub are needed to read these splits of it."""
    within = f"*{subset}*" if subset else "*"
    return [*NOTES, *(f"{within}{split}*{suffix}" for split in sorted(wanted) for suffix in SUFFIXES)]


def find(root: Path, wanted: set[str], subset: str, image: str, label: str, identity: str = "") -> Found:
    """A folder of tables.

    Args:
        root: the folder.
        wanted: names of splits.
        subset: the configuration that is meant, where the folder has several.
        image, label: names of the columns.
        identity: what its content is known by; that of its files, if empty.

    Raises:
        MergebenchError: no tables of these splits, or several configurations.
    """
    files = _by_split(root, wanted, subset)

    def read(asked: set[str]) -> Source:
        tables = {split: _table(paths) for split, paths in files.items() if split in asked}
        return _source(tables, root, subset, image, label)

    every = [file for paths in files.values() for file in paths]
    every += [note for note in (root / "README.md", root / "dataset_infos.json") if note.is_file()]
    return Found(identity or identity_of(root, every), read)


def _files(root: Path) -> list[Path]:
    found = (file for file in root.rglob("*") if file.suffix in SUFFIXES)
    # `datasets` leaves files of its own, cache-*, beside those that it has saved.
    return sorted(f for f in found if not any(part.startswith((".", "cache-")) for part in f.relative_to(root).parts))


def _by_split(root: Path, wanted: set[str], subset: str) -> dict[str, list[Path]]:
    """Split -> its files. A file belongs to the split that stands in its name or in that of a folder."""
    found: dict[str, list[Path]] = {}
    tables = _files(root)
    for file in tables:
        words = _words(file.relative_to(root))
        if subset and subset not in words:
            continue
        # `save_to_disk` of one data set without splits: data-00000-of-00001.arrow.
        split = next((word for word in reversed(words) if word in wanted), None)
        if split is None and words == ["data"]:
            split = "train"
        if split is not None:
            found.setdefault(split, []).append(file)
    if not found:
        told = f" of subset {subset!r}" if subset else ""
        names = ", ".join(str(file.relative_to(root)) for file in tables[:3]) or "none"
        raise MergebenchError(
            f"{root} has no parquet or arrow files{told} for {', '.join(sorted(wanted))}; there are: {names}"
        )
    for split, files in found.items():
        folders = {_without(file.relative_to(root), split) for file in files}
        if len(folders) > 1:
            raise MergebenchError(
                f"{root} holds several data sets: {', '.join(sorted(folders))}; choose one by `subset`"
            )
    return found


def _words(path: Path) -> list[str]:
    """What a table's path says: its folders, and its name without numbers, whole and in its parts."""
    stem = re.sub(r"-\d+-of-\d+(-[0-9a-f]{16})?$", "", path.stem)
    return [*path.parent.parts, *([stem] if "-" in stem else []), *stem.split("-")]


def _without(path: Path, split: str) -> str:
    """What tells a split's file from that of another configuration."""
    stem = re.sub(r"(^|-)\d+(-of-\d+)?(-[0-9a-f]{16})?$", "", path.stem)
    words = [*path.parent.parts, *stem.split("-")]
    return "/".join(word for word in words if word not in (split, "data", "")) or "."


def _table(files: Sequence[Path]) -> "Dataset":
    """All of a split's rows, memory-mapped: arrow files where they are, parquet through a copy in the cache folder."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    told = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong is raised as well
    try:
        if all(file.suffix == ".parquet" for file in files):
            return datasets.Dataset.from_parquet([str(f) for f in files], cache_dir=str(cache_root() / "datasets"))
        return datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files])
    except Exception as error:  # what it raises of a broken file is of many kinds
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        cut_off = [file for file in files if not _has_its_end(file)] or files
        raise MergebenchError(
            f"cannot read {cut_off[0]}{' or one of its siblings' * (len(cut_off) > 1)} ({reason}); {AGAIN}"
        ) from error
    finally:
        datasets.logging.set_verbosity(told)


def _has_its_end(file: Path) -> bool:
    """Whether a table's last bytes are those that such a file ends with."""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 8))
        return opened.read().endswith(ENDS[file.suffix])


def _source(tables: "dict[str, Dataset]", root: Path, subset: str, image: str, label: str) -> Source:
    import numpy as np

    for split, table in tables.items():
        for column in (image, label):
            if column not in table.column_names:
                there = ", ".join(table.column_names)
                raise MergebenchError(f"{root}: split {split!r} has no column {column!r}; there are: {there}")
    features = [_names(table.features[label]) for table in tables.values()]
    if len(set(features)) > 1:
        raise MergebenchError(f"{root}: {' and '.join(tables)} name their classes differently")
    columns = {split: np.asarray(table.data.column(label).to_pylist()) for split, table in tables.items()}
    names = features[0] or _noted(root, subset, label)
    kinds = {column.dtype.kind for column in columns.values()}
    if names is None and kinds == {"U"}:
        names = tuple(sorted({str(name) for column in columns.values() for name in column}))
        columns = {split: np.searchsorted(names, column) for split, column in columns.items()}
    elif not kinds <= set("iub"):
        raise MergebenchError(f"{root}: column {label!r} holds neither whole numbers nor names in every row")
    return Source({s: _part(table, columns[s].astype(np.int64), image, root, s) for s, table in tables.items()}, names)


def _part(table: "Dataset", labels: Any, image: str, root: Path, split: str) -> Part:
    import datasets

    # The bytes as they are: `datasets` would turn some images by their cameras' notes.
    images = table.cast_column(image, datasets.Image(decode=False)).data.column(image)

    def opened(index: int) -> Any:
        cell = images[index].as_py()
        if cell["bytes"] is None and cell["path"] is None:
            raise MergebenchError("the cell is empty")
        return open_image(root / cell["path"] if cell["bytes"] is None else io.BytesIO(cell["bytes"]))

    return Part(labels, opened, _teller(root, split))


def _teller(root: Path, split: str) -> Callable[[int], str]:
    return lambda index: f"row {index} of {split!r} in {root}"


def _names(feature: Any) -> tuple[str, ...] | None:
    names = getattr(feature, "names", None)
    return tuple(names) if names else None


def _noted(root: Path, subset: str, label: str) -> tuple[str, ...] | None:
    """Names of labels from the notes beside the tables, where the tables themselves have none."""
    from datasets.info import DatasetInfosDict

    infos = DatasetInfosDict.from_directory(str(root))
    info = infos.get(subset or "default") or (next(iter(infos.values())) if len(infos) == 1 else None)
    return _names(info.features[label]) if info and label in (info.features or {}) else None
