"""What a stored result proves of itself: a checksum over its content, and counts that follow from its predictions."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from pydantic import ValidationError

from mergebench.errors import MergebenchError, unprefixed
from mergebench.weights.reading import plain_text
from mergebench.weights.sealed import checksum
from mergebench.weights.writing import writing

LABELS = "labels/"  # before a task's name: the labels that its predictions are held against
BYTES = 16_000_000  # of a stored result's JSON, or a search's record: ten thousand trials take half of it
HEADER = 4096  # bytes, more than any array's header takes
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of others a few bytes unpack to gigabytes, and in one step


class Sealed(Protocol):
    """The schema of a file with a checksum over all else in it, empty where it was written before there were any."""

    checksum: str

    @classmethod
    def model_validate_json(cls, json_data: str) -> Self:
        """As pydantic's."""


Stored = TypeVar("Stored", bound=Sealed)


class Count(NamedTuple):
    """What follows from a task's predictions; `correct` is None where the labels are not known."""

    correct: int | None
    total: int
    predictions: str


class Unproven(MergebenchError):
    """A file that does not prove what it says; the message is the reason alone."""


def read_stored(path: Path, kind: type[Stored], what: str) -> Stored:
    """A JSON file's content, held to its `checksum`, if it has one.

    Args:
        path: the file.
        kind: its schema.
        what: what it is to be, for messages ("result").

    Raises:
        Unproven: it is none, or was changed.
    """
    try:
        text = plain_text(path, BYTES)
        stored, content = kind.model_validate_json(text), json.loads(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise Unproven(f"it is no {what} ({place}: {unprefixed(first['msg'])})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Unproven(f"it is no {what} ({error})") from None
    if stored.checksum and stored.checksum != checksum(content):
        raise Unproven("it was changed after it was stored: its checksum is another's")
    return stored


def count(predicted: np.ndarray, labels: np.ndarray | None) -> Count:
    """The counts of one task.

    Args:
        predicted: class ids [N].
        labels: the right ones [N]; None if they are not known.
    """
    digest = hashlib.sha256(predicted.astype("<u2").tobytes()).hexdigest()[:16]
    return Count(None if labels is None else int((predicted == labels).sum()), len(predicted), digest)


def write_predictions(path: Path, predictions: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> None:
    """Write a result's side file, a `.npz`: per task predictions under its name, and labels under `labels/` and it.

    With the labels, counts can be recomputed without the images, by whoever has the two files.

    Args:
        path: where to; it appears whole.
        predictions, labels: task -> class ids [N].

    Raises:
        MergebenchError: the place cannot be written.
    """
    arrays = dict(predictions) | {f"{LABELS}{task}": given for task, given in labels.items()}
    # Not `np.savez`, to which a task named "file" would be its own argument.
    with writing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array).astype("<u2"), allow_pickle=False)


def answers(path: Path, totals: Mapping[str, int]) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """What a side file holds.

    Args:
        path: the file.
        totals: task -> how many predictions there are to be.

    Returns:
        task -> predictions [N], and the labels [N] that they are held against, or None.

    Raises:
        Unproven: it is missing, not whole, or lacks a task.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe, or a device, would be waited for
            raise Unproven(f"({path.name}) are no file")
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            return {
                task: (
                    class_ids(archive, f"{task}.npy", total),
                    class_ids(archive, f"{LABELS}{task}.npy", total) if f"{LABELS}{task}.npy" in names else None,
                )
                for task, total in totals.items()
            }
    except FileNotFoundError:
        raise Unproven(f"its predictions ({path.name}) are missing") from None
    # Whatever a broken archive makes the readers of archives and arrays stumble over.
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, Unproven) else f"({path.name}) cannot be read"
        raise Unproven(f"its predictions {reason}") from None


def class_ids(archive: zipfile.ZipFile, name: str, total: int) -> np.ndarray:
    """One array [total] of a side file, open; nothing is unpacked that claims to be larger.

    Raises:
        Unproven: it is another number of class ids, or none.
        Exception: whatever a broken archive makes the readers of archives and arrays stumble over.
    """
    stated = archive.getinfo(name)
    if stated.file_size > HEADER + 8 * total:
        raise Unproven(f"of {name} are more than {total}")
    if stated.compress_type not in PACKINGS:
        raise Unproven(f"of {name} are packed in another way than by deflation")
    # No more than is stated: `ZipFile.read` unpacks gigabytes before it finds that they are more.
    with archive.open(stated) as member:
        content = member.read(stated.file_size)
    length = int.from_bytes(content[8:10], "little") + 10
    shape, dtype = _header(content[:length])
    if shape != (total,) or dtype.kind not in "iu":
        raise Unproven(f"of {name} are {dtype} {list(shape)}, not {total} class ids")
    if len(content) != length + total * dtype.itemsize:
        raise Unproven(f"of {name} are {len(content) - length:,} bytes, not those of {total} class ids")
    return np.frombuffer(content, dtype, offset=length)


@lru_cache
def _header(header: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype from an array's header: most are alike, and reading one takes longer than reading an array."""
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype
