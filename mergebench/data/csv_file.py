"""A CSV file that names images and their labels, and perhaps their split."""

import csv
import os.path
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from mergebench.data import splits
from mergebench.data.labels import check_number, check_seen, normal
from mergebench.data.source import Found, Part, Source, identity_of, open_image
from mergebench.data.source import outside as lies_outside
from mergebench.errors import MergebenchError

SUFFIXES = (".csv", ".tsv")
BYTES = 200_000_000  # of a file: two million rows
SPLIT = "split"  # the column that says which split an image is in; without it, all are train

_NUMBER = re.compile(r"-?\d+(\.0*)?")  # whole, as tables write it: "7", or "7.0" where some were missing once
_MISSING = ("nan", "na", "n/a", "<na>", "none", "null")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def find(path: Path, image: str, label: str, split: str | None = None, *, outside: bool = False) -> Found:
    """A CSV file's images.

    Args:
        path: the file; paths in it are relative to its folder. Cells are separated by what the header is separated by:
            commas, semicolons or tabs.
        image, label: names of the columns; blanks around a header's names do not count.
        split: that of the column that says the split; empty: none does. None: one that is called `split` in any case,
            if there is one.
        outside: whether images may lie elsewhere than in the file's folder.

    Raises:
        MergebenchError: it cannot be read, lacks a column, has cells beyond its header or a column that may say the
            split and is not named, or names an image that is not there, or lies elsewhere.
    """
    written, lines = _read(path, (image, label, *([split] if split else [])))
    columns = [name.strip() for name in written]
    place = _split_column(path, columns, lines, (image, label), split)
    pictures, spellings = columns.index(image.strip()), columns.index(label.strip())
    rows: dict[str, list[tuple[Path, str]]] = {}
    known: dict[Path, bool] = {}
    unsaid = 0
    for line, cells in lines:
        bare = not all(len(cells) > p and cells[p].strip() for p in (pictures, spellings))
        if bare:
            raise MergebenchError(f"{path}, line {line}: an image and a label are needed")
        name = cells[place].strip() if place is not None and len(cells) > place else ""
        unsaid += place is not None and not name
        picture = _image(path, line, cells[pictures])
        if not outside and lies_outside(path.parent, picture, known):
            raise MergebenchError(
                f"{path}, line {line}: {cells[pictures].strip()} does not lie in the file's folder; move it there, or "
                "allow it (--outside, `outside: true`)"
            )
        rows.setdefault(name or "train", []).append((picture, normal(cells[spellings])))
    if not rows:
        raise MergebenchError(f"{path} names no images")
    spelt = sorted({label for part in rows.values() for _, label in part})
    ids, names = _ids(path, spelt)

    def part(entries: list[tuple[Path, str]]) -> Part:
        import numpy as np

        return Part(
            np.array([ids[label] for _, label in entries], dtype=np.int64),
            lambda index: open_image(entries[index][0]),
            lambda index: str(entries[index][0]),
            lambda index: entries[index][0],
        )

    def read(asked: set[str]) -> Source:
        entries: dict[str, list[tuple[Path, str]]] = {}
        for split, some in rows.items():
            entries.setdefault(splits.meant(split, asked) or split, []).extend(some)
        stranger = next(iter(splits.strangers(rows, asked)), None)
        if stranger is not None:
            raise MergebenchError(f"{path}: there is a split {stranger!r}; name it under `splits:`, or remove its rows")
        return Source({split: part(some) for split, some in entries.items() if split in asked}, names)

    files = {path, *(file for part in rows.values() for file, _ in part)}
    unused = [name for place_, name in enumerate(columns) if place_ not in (pictures, spellings, place)]
    # What the first version of this reader read otherwise: names in another spelling, or another column of splits.
    taken = written.index(SPLIT) if SPLIT in written else None
    same = (
        {image, label} <= set(written)
        and place == taken
        and all(cells[spellings].strip() == normal(cells[spellings]) for _, cells in lines)
        and (names is not None or not any("." in label for label in spelt))
    )
    identity = identity_of(path.parent, files) + ("" if same else "|2")
    told = [f"columns {', '.join(map(repr, unused))}"] * bool(unused)
    told += [f"no split in {unsaid:,} rows: they are taken for train"] * bool(unsaid)
    return Found(identity, read, splits=tuple(rows), passed_over=tuple(told))


def _read(path: Path, wanted: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A file's header, and its lines of cells with their numbers."""
    if len({column.strip() for column in wanted}) < len(wanted):
        raise MergebenchError(f"{path}: `image`, `label` and `split` name one column twice ({', '.join(wanted)})")
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise MergebenchError(f"cannot read {path}: it is no file; name one")
    if path.exists() and path.stat().st_size > BYTES:
        raise MergebenchError(f"{path} has more than {BYTES:,} bytes; leave out columns that are not used, or rows")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            separator = _separator(path, first, wanted)
            reader = csv.reader(file, strict=True, delimiter=separator)
            written = next((cells for cells in reader if any(map(str.strip, cells))), [])
            header = [name.strip() for name in written]
            lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except UnicodeDecodeError as error:
        raise MergebenchError(
            f"cannot read {path}: it is not UTF-8 (byte {error.object[error.start]:#x}); save it as UTF-8"
        ) from None
    except (OSError, ValueError, csv.Error) as error:  # of values: no name of a file
        raise MergebenchError(f"cannot read {path}: {error}") from None
    lacking = next((column for column in wanted if column.strip() not in header), None)
    if lacking is not None:
        see = "`split`" if lacking not in wanted[:2] else "`image`, `label`"
        there = f"there are: {', '.join(header)}" if header else "it is empty"
        there += ", for cells are separated by commas, semicolons or tabs" if len(header) == 1 else ""
        raise MergebenchError(f"{path} has no column {lacking!r}; {there} (see {see})")
    twice = next((column.strip() for column in (*wanted, SPLIT) if header.count(column.strip()) > 1), None)
    if twice is not None:
        raise MergebenchError(f"{path} has two columns {twice!r}; remove or rename one")
    long = next(((line, cells) for line, cells in lines if any(map(str.strip, cells[len(header) :]))), None)
    if long is not None:
        raise MergebenchError(
            f"{path}, line {long[0]}: {len(long[1])} cells, but the header has {len(header)}; put cells that hold the "
            'separator into "quotes"'
        )
    return written, lines


def _separator(path: Path, first: str, wanted: Sequence[str]) -> str:
    """What separates a file's cells: that by which its header holds the columns."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    for separator in _SEPARATORS:
        names = [name.strip().strip('"') for name in first.strip().split(separator)]
        if {column.strip() for column in wanted} <= set(names):
            return separator
    return ","


def _split_column(
    path: Path,
    columns: Sequence[str],
    lines: Sequence[tuple[int, list[str]]],
    known: Sequence[str],
    split: str | None,
) -> int | None:
    """Where the split is said; a column that may say it and is not named is refused."""
    if split is not None:
        return columns.index(split.strip()) if split else None
    others = [place for place, name in enumerate(columns) if name not in {column.strip() for column in known}]
    named = [place for place in others if columns[place].lower() == SPLIT]
    if len(named) > 1:
        raise MergebenchError(f"{path} has two columns {SPLIT!r}; remove or rename one")
    if named:
        return named[0]
    for place in others:
        values = {cells[place].strip() for _, cells in lines if len(cells) > place} - {""}
        named_so = splits.speaks_of_splits(columns[place]) and 1 < len(values) <= splits.FEW
        if splits.look_like(values) or named_so:
            told = ", ".join(sorted(values)[:3])
            name_it = f"name it (`split: {columns[place]}`)" if columns[place] else "give it a name, `split`"
            raise MergebenchError(
                f"{path}: column {columns[place]!r} looks like a split ({told}); {name_it}, or say that none does "
                "(`split: ''`)"
            )
    return None


def _image(path: Path, line: int, cell: str) -> Path:
    """The file that a cell names, however its file system composes the letters."""
    for name in dict.fromkeys((cell, cell.strip())):
        for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
            if os.path.isfile(path.parent / form):  # of a name that is too long, no error
                return path.parent / form
    there = path.parent / cell.strip().replace("\\", "/")
    hint = "write its path with /" if os.path.isfile(there) else "paths are relative to the file's folder"
    raise MergebenchError(f"{path}, line {line}: no image at {path.parent / cell}; {hint}")


def _ids(path: Path, spelt: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """The id of each label, and the labels' names: labels that are all whole numbers are ids, not names."""
    check_seen(spelt, str(path))
    numbers = [label for label in spelt if _NUMBER.fullmatch(label)]
    values: dict[int, str] = {}
    for label in numbers:
        check_number(int(label.partition(".")[0][:20]))
        if (other := values.setdefault(int(label.partition(".")[0]), label)) != label:
            raise MergebenchError(f"{path}: labels {other!r} and {label!r} are one number; write it in one way")
    strange = [label for label in spelt if label not in numbers]
    if numbers and len(strange) == 1 and strange[0].lower() in _MISSING:
        raise MergebenchError(
            f"{path}: label {strange[0]!r} beside numbers is no class; remove its rows, or write names"
        )
    if strange:
        return {label: place for place, label in enumerate(spelt)}, tuple(spelt)
    return {label: number for number, label in values.items()}, None
