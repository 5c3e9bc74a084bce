"""Folders of images: one folder per class, alone or in folders `train` and `test`."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.data import layout, splits
from mergebench.data.labels import check_seen, normal
from mergebench.data.source import KINDS, Found, Part, Source, below, identity_of, open_image
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = tuple(KINDS)


def find(
    root: Path,
    wanted: set[str],
    known: Collection[str] = (),
    *,
    described: bool = True,
    unlisted: bool = False,
) -> Found:
    """A folder's images.

    Args:
        root: with one folder per class; or with folders named as the splits that are wanted (in any case), of such.
        wanted: names of splits.
        known: names of classes: folders called so are classes, whatever lies in them.
        described: whether there is a description, which more can be said in.
        unlisted: whether somebody has said that no list of splits beside the folders counts.

    Raises:
        MergebenchError: no folders, an empty one, or a file in one that is no image by its name; folders of splits
            beside others; folders that may be classes or hold them; lists of splits beside them.
    """
    tops = layout.folders(root)
    parted = layout.splits_of(root, tops, wanted, known)
    classes = {split: layout.folders(top) for split, top in parted.items()} or {"train": tops}
    if not tops:
        raise MergebenchError(f"{root} has no folders of images, one per class")
    spelt = {folder.name for folders in classes.values() for folder in folders}
    if not {normal(name) for name in spelt} <= {normal(name) for name in known}:
        layout.check_depth(root, classes, described)
    files: dict[str, dict[str, list[Path]]] = {split: {} for split in classes}
    for split, folders in classes.items():
        for folder in folders:
            if normal(folder.name) in files[split]:
                raise MergebenchError(f"{folder.parent} has two folders {normal(folder.name)!r}; make them one")
            files[split][normal(folder.name)] = _images(folder)
    everything = [file for folders in files.values() for images in folders.values() for file in images]
    names = sorted({name for folders in files.values() for name in folders})

    check_seen(names, str(root))

    def part(folders: dict[str, list[Path]]) -> Part:
        import numpy as np

        images = [file for name in sorted(folders) for file in folders[name]]
        labels = np.arange(len(names), dtype=np.int64).repeat([len(folders.get(name, ())) for name in names])
        return Part(labels, _opener(images), lambda index: str(images[index]), images.__getitem__, tuple(names))

    def read(asked: set[str]) -> Source:
        return Source({split: part(folders) for split, folders in files.items() if split in asked}, tuple(names))

    # Names that Unicode composes otherwise may have been two, or in another order.
    identity = identity_of(root, everything) + ("" if spelt <= set(names) else "|composed")
    there = [top.name for top in tops] if parted else ["train"]
    told = layout.beside((root, *parted.values()), described, unlisted)
    return Found(identity, read, splits=there, passed_over=told)


def for_calibration(root: Path) -> Part:
    """The images of a folder that a merge may be calibrated with, and be tested on the others.

    Args:
        root: with one folder per class, alone or in folders of splits: the calibration split is taken that a task has
            whose data they are; or with images alone, there or in its folder `train`, which are all taken.

    Returns:
        The images; without labels (an array of -1) where they do not lie in folders of classes.

    Raises:
        MergebenchError: no such folder, no images in it, too few to set some aside, or some in folders and some not.
    """
    if not root.is_dir():
        raise MergebenchError(f"no folder of images at {root}")
    tops, wanted = layout.folders(root), splits.wanted({})
    train = next((top for top in tops if top.name.lower() == "train"), None)
    if train is not None and not layout.folders(train) and not splits.strangers((top.name for top in tops), ()):
        return _unlabelled(train)
    if not any(_shown_images(top) for top in tops):
        return _unlabelled(root)
    parted = layout.splits_of(root, tops, wanted)
    if not parted and any(file.parent == root for file in _shown_images(root)):
        raise MergebenchError(f"{root} holds images beside folders of images; move the ones or the others elsewhere")
    parts = find(root, wanted, described=False).read(wanted).parts
    if "train" not in parts:
        raise MergebenchError(f"{root} has folders of splits ({', '.join(parted)}), but none called train")
    counts = {role: len(parts[name].labels) for role, name in splits.roles({}, parts).items()}
    try:
        return parts["train"].taken(splits.share(counts, "calibration")[1])
    except MergebenchError:
        raise MergebenchError(
            f"{root}: {counts['train']} images are too few for a calibration split beside train, validation and test; "
            "add some, or give a folder of images alone, which are all taken"
        ) from None


def _unlabelled(root: Path) -> Part:
    import numpy as np

    files = _shown_images(root)
    if not files:
        raise MergebenchError(f"{root} holds no images ({', '.join(SUFFIXES)} are)")
    return Part(np.full(len(files), -1), _opener(files), lambda index: str(files[index]))


def _opener(files: list[Path]) -> "Callable[[int], Image.Image]":
    return lambda index: open_image(files[index])


def _images(folder: Path) -> list[Path]:
    """All images below a folder, in the order of their names; hidden files are none."""
    files = below(folder)
    strange = next((file for file in files if file.suffix.lower() not in SUFFIXES), None)
    if strange is not None:
        raise MergebenchError(f"{strange} is no image by its name; move it elsewhere ({', '.join(SUFFIXES)} are)")
    if not files:
        raise MergebenchError(f"{folder} is to be a class, but holds no images; fill it or remove it")
    return files


def _shown_images(root: Path) -> list[Path]:
    """All images by their names below a folder, in the order of their names; hidden files are none."""
    return [file for file in below(root) if file.suffix.lower() in SUFFIXES]
