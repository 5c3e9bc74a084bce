"""What follows from the files of predictions, counted once: again only where a file is another than it was.

Reading predictions takes ten times as long as all else that a result is held to. What is kept of a file holds for as
long as it has the same mark, which no program can give to another content (`weights/footing.py`).
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mergebench.errors import MergebenchError
from mergebench.measuring.proof import Count, answers, count
from mergebench.weights.footing import is_young, mark
from mergebench.weights.writing import writing

FEWEST = 200  # files of which it is worth to keep anything: fewer are read in half a second
KEPT = 20  # folders; the oldest make room
DIGEST = 8  # bytes of a digest of predictions


class Counted(NamedTuple):
    """One task's: what is counted, and which images are right, eight a byte; None where the labels are not known."""

    counts: Count
    right: np.ndarray | None


class Recounts:
    """Counts of the side files of one folder.

    Args:
        place: the file in which they are kept; None: they are kept nowhere.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self._kept: dict[str, tuple[str, dict[str, Counted]]] = {}
        self._layouts: list[dict[str, int]] = []  # task -> images, of which most files share one
        self._index: dict[str, tuple[str, int, int]] = {}  # file -> mark, layout, offset in
        self._packed = b""
        self._more = False
        if place is not None:
            self._load(place)

    def of(self, path: Path, totals: Mapping[str, int]) -> dict[str, Counted]:
        """What follows from a side file: task -> counts.

        Args:
            path: the file.
            totals: task -> how many predictions there are to be.

        Raises:
            Unproven: it is missing, not whole, or lacks a task.
        """
        if self._place is None:
            return _counted(path, totals)
        name, marked = _name(path), mark(str(path))
        found = self._recalled(name, marked, totals)
        if found is None:
            young = is_young(str(path))
            found = _counted(path, totals)
            if (
                marked
                and not young
                and mark(str(path)) == marked
                and all(one.right is not None for one in found.values())
            ):
                self._kept[name], self._more = (marked, found), True
        return found

    def _recalled(self, name: str, marked: str | None, totals: Mapping[str, int]) -> dict[str, Counted] | None:
        if name in self._kept and self._kept[name][0] == marked:
            found = self._kept[name][1]
            return found if {t: c.counts.total for t, c in found.items()} == totals else None
        noted, layout, offset = self._index.get(name, (None, 0, 0))
        if noted is None or noted != marked or self._layouts[layout] != totals:
            return None
        found = {}
        for task, total in self._layouts[layout].items():
            start, end = offset + DIGEST, offset + DIGEST + (total + 7) // 8
            correct = int.from_bytes(self._packed[start:end]).bit_count()  # the last byte is filled up with zeros
            right = np.frombuffer(self._packed, np.uint8, end - start, start)
            found[task] = Counted(Count(correct, total, self._packed[offset:start].hex()), right)
            offset = end
        return found

    def keep(self, paths: Collection[Path]) -> None:
        """Keep what is known of these side files, all that there are, if any of it is new."""
        if self._place is None or not self._more or len(paths) < FEWEST:
            return
        parts, index, layouts, size = [], {}, list(self._layouts), 0
        for name in map(_name, paths):
            if name in self._kept:
                marked, found = self._kept[name]
                layout = {task: one.counts.total for task, one in found.items()}
                part = b"".join(
                    bytes.fromhex(c.counts.predictions) + c.right.tobytes()
                    for c in found.values()
                    if c.right is not None  # as of all that is kept
                )
            elif name in self._index:
                marked, number, offset = self._index[name]
                layout = self._layouts[number]
                part = self._packed[offset : offset + sum(DIGEST + (total + 7) // 8 for total in layout.values())]
            else:
                continue
            if layout not in layouts:
                layouts.append(layout)
            index[name] = (marked, layouts.index(layout), size)
            parts.append(part)
            size += len(part)
        text = json.dumps({"layouts": layouts, "index": index}).encode() + b"\n" + b"".join(parts)
        try:
            with writing(self._place) as temporary:
                temporary.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
            older = sorted(self._place.parent.glob("*.counts"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]
            for path in older:
                path.unlink(missing_ok=True)
        except (MergebenchError, OSError):  # a cache that may only be read
            pass
        self._more = False

    def _load(self, place: Path) -> None:
        try:
            digest, _, text = place.read_bytes().partition(b"\n")
            if hashlib.sha256(text).hexdigest().encode() != digest:
                return
            head, _, self._packed = text.partition(b"\n")
            content = json.loads(head)
            self._layouts = content["layouts"]
            self._index = {name: tuple(entry) for name, entry in content["index"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or what another version left
            self._index = {}


def _name(path: Path) -> str:
    """A side file's in its folder, wherever that is seen from."""
    return f"{path.parent.name}/{path.name}"


def _counted(path: Path, totals: Mapping[str, int]) -> dict[str, Counted]:
    found = {}
    for task, (predicted, labels) in answers(path, totals).items():
        right = None if labels is None else np.packbits(predicted == labels)
        found[task] = Counted(count(predicted, labels), right)
    return found
