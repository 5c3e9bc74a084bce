"""What every kind of source comes to: for each split labels and images, and names of the labels."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mergebench.data import preprocessing
from mergebench.data.task import ImageTable
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# How files of images end, and PIL's name of what they hold.
KINDS = {
    **{".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"},
    **dict.fromkeys((".jpg", ".jpeg", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm"), "PPM"),
}


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

    def taken(self, rows: "np.ndarray") -> "Part":
        """Some of its images, by their indices."""
        return Part(self.labels[rows], lambda i: self.image(int(rows[i])), lambda i: self.told(int(rows[i])))

    def table(self, size: int) -> ImageTable:
        """Its images as squares of one size, in pixels."""
        return ImageTable(self.labels, lambda index: preprocessing.square(self.image(index), size), self.told)


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
        splits: the splits that there are, wanted or not, as the source spells them; none where that is not known
            before more is fetched.
    """

    identity: str
    read: Callable[[set[str]], Source]
    origin: str = ""
    splits: Collection[str] = ()


def identity_of(root: Path, files: Iterable[Path]) -> str:
    """Hash of names, sizes and times of change."""
    sha = hashlib.sha256()
    for file in sorted(files):
        status = file.stat()
        sha.update(f"{file.relative_to(root) if file.is_relative_to(root) else file}".encode())
        sha.update(f"|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def open_image(file: "Path | BinaryIO") -> "Image.Image":
    """An image file of a kind in KINDS, whatever its name; it is decoded when its pixels are asked for.

    Raises:
        MergebenchError: it is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # PIL knows kinds that run programs (PostScript), and takes a file for what it holds.
        return Image.open(file, formats=sorted(set(KINDS.values())))
    except UnidentifiedImageError:  # which would tell where in memory the bytes are
        raise MergebenchError("it is empty, damaged or no image; replace it") from None
