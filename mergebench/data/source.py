"""What every kind of source comes to: for each split labels and images, and names of the labels."""

import hashlib
import logging
import os
import stat
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
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
PIXELS = 100_000_000  # of an image: four bytes of each are held, up to three times over
FILE = 1_000_000_000  # bytes of an image's file: as many pixels take less in any format
LARGE = 16_000_000  # pixels, above which one image is decoded at a time
_LARGE = Lock()


@dataclass(frozen=True)
class Part:
    """One of a source's splits.

    Args:
        labels: int64 [N], as the source numbers them.
        image: index -> the image as it is; called from several threads at once.
        told: index -> what a person finds the image by.
        content: index -> what tells an image from others, a file or its bytes; None where that is not at hand.
        names: of the labels, where the part is all that there is of its source.
    """

    labels: "np.ndarray"
    image: "Callable[[int], Image.Image]"
    told: Callable[[int], str]
    content: "Callable[[int], Path | bytes] | None" = None
    names: tuple[str, ...] = ()

    def taken(self, rows: "np.ndarray") -> "Part":
        """Some of its images, by their indices."""
        content = self.content
        return Part(
            self.labels[rows],
            lambda i: self.image(int(rows[i])),
            lambda i: self.told(int(rows[i])),
            content and (lambda i: content(int(rows[i]))),
            self.names,
        )

    def table(self, size: int, alpha: str = "", white: float | None = None) -> ImageTable:
        """Its images as squares of one size, in pixels; `alpha` and `white` as `preprocessing.rgb` has them."""

        def decode(index: int) -> "np.ndarray":
            image = self.image(index)
            # Several gigabytes, were each of many threads at one.
            with _LARGE if image.width * image.height > LARGE else nullcontext():
                return preprocessing.square(preprocessing.rgb(image, alpha, white), size)

        return ImageTable(self.labels, decode, self.told)


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
        passed_over: what is there and not used, in words.
    """

    identity: str
    read: Callable[[set[str]], Source]
    origin: str = ""
    splits: Collection[str] = ()
    passed_over: tuple[str, ...] = ()


def identity_of(root: Path, files: Iterable[Path]) -> str:
    """Hash of names, sizes and times of change."""
    sha = hashlib.sha256()
    for file in sorted(files):
        status = file.stat()
        sha.update(f"{file.relative_to(root) if file.is_relative_to(root) else file}".encode())
        sha.update(f"|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def below(root: Path, *, whole: bool = True) -> list[Path]:
    """All files below a folder, those in linked folders too, in the order of their paths; hidden ones are none.

    Args:
        root: the folder.
        whole: whether a link that leads nowhere is refused; otherwise it is no file.

    Raises:
        MergebenchError: a link that leads nowhere, or back to a folder that it lies in.
    """
    found: list[Path] = []

    def walk(folder: Path, above: tuple[tuple[int, int], ...]) -> None:
        status = folder.stat()
        this = (status.st_dev, status.st_ino)
        if this in above:
            raise MergebenchError(f"{folder} is a link back to a folder that it lies in; remove it")
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    walk(folder / entry.name, (*above, this))
                elif entry.is_file():
                    found.append(folder / entry.name)
                elif whole:
                    what = "a link that leads nowhere; mend" if entry.is_symlink() else "neither file nor folder; move"
                    raise MergebenchError(f"{folder / entry.name} is {what} or remove it")

    walk(root, ())
    return sorted(found)


def open_image(file: "Path | BinaryIO") -> "Image.Image":
    """An image file of a kind in KINDS, whatever its name; it is decoded when its pixels are asked for.

    Raises:
        MergebenchError: it is no image, or too large a one.
    """
    from PIL import Image, UnidentifiedImageError

    without_warnings()
    if isinstance(file, Path):
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise MergebenchError("it is no file; replace it")
        if status.st_size > FILE:
            raise MergebenchError(f"it has more than {FILE:,} bytes; scale it down, or replace it")
    try:
        # PIL knows kinds that run programs (PostScript), and takes a file for what it holds.
        image = Image.open(file, formats=sorted(set(KINDS.values())))
    except Image.DecompressionBombError:  # PIL's own bound is higher
        raise MergebenchError(_too_large()) from None
    except UnidentifiedImageError:  # which would tell where in memory the bytes are
        raise MergebenchError("it is empty, damaged or no image; replace it") from None
    check_pixels(image)
    return image


def check_pixels(image: "Image.Image") -> None:
    """Refuses, by a MergebenchError, an image whose header promises more than `PIXELS`, before any is decoded."""
    if image.width * image.height > PIXELS:
        raise MergebenchError(_too_large(image.size))


def _too_large(size: tuple[int, int] | None = None) -> str:
    most = f"more than {PIXELS // 10**6} million"
    told = f"is of {size[0]:,} x {size[1]:,} pixels, {most}" if size else f"has {most} pixels"
    return f"it {told}; scale it down"


def outside(root: Path, file: Path, known: dict[Path, bool]) -> bool:
    """Whether a file that a table names lies, once links are followed, elsewhere than in the table's folder.

    Args:
        root: the table's folder.
        file: an existing one.
        known: of folders, what was found before: a table names millions of files in a few.
    """
    if file.parent not in known:
        known[file.parent] = not file.parent.resolve().is_relative_to(root.resolve())
    return known[file.parent] or (file.is_symlink() and not file.resolve().is_relative_to(root.resolve()))


@cache
def without_warnings() -> None:
    """PIL warns of images half as large as those that it refuses, and of notes in disorder, which no pixel rests on."""
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
