"""A CSV file that names images and their labels, and perhaps their split."""

import csv
import re
from pathlib import Path

from mergebench.data import splits
from mergebench.data.source import Found, Part, Source, identity_of, open_image
from mergebench.errors import MergebenchError

SPLIT = "split"  # the column that says which split an image is in; without it, all are train


def find(path: Path, image: str, label: str) -> Found:
    """A CSV file's images.

    Args:
        path: the file; paths in it are relative to its folder.
        image, label: names of the columns.

    Raises:
        MergebenchError: it cannot be read, lacks a column, or names an image that is not there.
    """
    rows: dict[str, list[tuple[Path, str]]] = {}
    for line, fields in enumerate(_rows(path, (image, label)), start=2):
        file = path.parent / fields[image]
        if not file.is_file():
            raise MergebenchError(f"{path}, line {line}: no image at {file}")
        rows.setdefault((fields.get(SPLIT) or "").strip() or "train", []).append((file, fields[label].strip()))
    if not rows:
        raise MergebenchError(f"{path} names no images")
    spelt = sorted({label for part in rows.values() for _, label in part})
    # Labels that are all numbers are ids, not names.
    names = None if all(re.fullmatch(r"-?\d+", label) for label in spelt) else tuple(spelt)
    ids = {label: int(label) if names is None else place for place, label in enumerate(spelt)}

    def part(entries: list[tuple[Path, str]]) -> Part:
        import numpy as np

        return Part(
            np.array([ids[label] for _, label in entries], dtype=np.int64),
            lambda index: open_image(entries[index][0]),
            lambda index: str(entries[index][0]),
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
    return Found(identity_of(path.parent, files), read, splits=tuple(rows))


def _rows(path: Path, columns: tuple[str, str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            there = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MergebenchError(f"cannot read {path}: {error}") from None
    lacking = next((column for column in columns if column not in there), None)
    if lacking is not None:
        raise MergebenchError(f"{path} has no column {lacking!r}; there are: {', '.join(there)} (see `image`, `label`)")
    bare = next((line for line, row in enumerate(rows, 2) if not all((row[c] or "").strip() for c in columns)), None)
    if bare is not None:
        raise MergebenchError(f"{path}, line {bare}: an image and a label are needed")
    return rows
