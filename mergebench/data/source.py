"""What every kind of source comes to: for each split labels and images, and names of the labels."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


@dataclass(frozen=True)
class Part:
    """One of a source's splits.

    Args:
        labels: int64 [N], as the source numbers them.
        image: index -> the image as it is; called from several threads at once.
        told: index -> what a person finds the image by.
    """

    labels: "np.ndarray"
    image: "Callable[[int], Image.Image]"
    told: Callable[[int], str]


@dataclass(frozen=True)
class Source:
    """Images and labels as they are found.

    Args:
        parts: the source's splits, by its names of them.
        names: of label 0, 1, ...; None if its labels are mere numbers.
    """

    parts: Mapping[str, Part]
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class Found:
    """A source that has been found, but not been read.

    Args:
        identity: changes whenever its content may have.
        read: the names of the splits that are wanted -> those of them that there are.
        origin: owner/name@commit of a data set on the hub.
    """

    identity: str
    read: Callable[[set[str]], Source]
    origin: str = ""


def identity_of(root: Path, files: Iterable[Path]) -> str:
    """Hash of names, sizes and times of change."""
    sha = hashlib.sha256()
    for file in sorted(files):
        status = file.stat()
        sha.update(f"{file.relative_to(root) if file.is_relative_to(root) else file}".encode())
        sha.update(f"|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def open_image(file: "Path | BinaryIO") -> "Image.Image":
    """An image file; it is decoded when its pixels are asked for.

    Raises:
        MergebenchError: it is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except UnidentifiedImageError:  # which would tell where in memory the bytes are
        raise MergebenchError("it is empty, damaged or no image; replace it") from None
