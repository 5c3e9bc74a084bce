"""Folders of images: one folder per class, alone or in folders `train` and `test`."""

from collections.abc import Callable
from pathlib import Path

from mergebench.data.source import Found, Part, Source, identity_of, open_image
from mergebench.errors import MergebenchError

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
)  # fmt: skip


def find(root: Path, wanted: set[str]) -> Found:
    """A folder's images.

    Args:
        root: with one folder per class; or with folders named as the splits that are wanted, of such.
        wanted: names of splits.

    Raises:
        MergebenchError: no folders, an empty one, or a file in one that is no image by its name.
    """
    tops = _folders(root)
    splits = [folder for folder in tops if folder.name in wanted and _folders(folder)]
    classes = {folder.name: _folders(folder) for folder in splits} if splits else {"train": tops}
    if not tops:
        raise MergebenchError(f"{root} has no folders of images, one per class")
    files = {split: {folder.name: _images(folder) for folder in folders} for split, folders in classes.items()}
    everything = [file for folders in files.values() for images in folders.values() for file in images]
    names = sorted({name for folders in files.values() for name in folders})

    def part(folders: dict[str, list[Path]]) -> Part:
        import numpy as np

        images = [file for name in sorted(folders) for file in folders[name]]
        labels = [names.index(name) for name in sorted(folders) for _ in folders[name]]
        return Part(np.array(labels, dtype=np.int64), _opener(images), lambda index: str(images[index]))

    def read(asked: set[str]) -> Source:
        return Source({split: part(folders) for split, folders in files.items() if split in asked}, tuple(names))

    return Found(identity_of(root, everything), read)


def every_image(root: Path) -> Part:
    """All images below a folder, whatever folders they lie in.

    Args:
        root: where all lie in folders of it, these are their classes.

    Returns:
        The images; without labels (an array of -1) where one lies in `root` itself.

    Raises:
        MergebenchError: no such folder, or no images in it.
    """
    import numpy as np

    if not root.is_dir():
        raise MergebenchError(f"no folder of images at {root}")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and _shown(file, root))
    if not files:
        raise MergebenchError(f"{root} holds no images ({', '.join(SUFFIXES)} are)")
    tops = [file.relative_to(root).parts[0] for file in files]
    names = sorted(set(tops))
    in_classes = all((root / top).is_dir() for top in names)
    labels = [names.index(top) if in_classes else -1 for top in tops]
    return Part(np.array(labels, dtype=np.int64), _opener(files), lambda index: str(files[index]))


def _opener(files: list[Path]) -> Callable:
    return lambda index: open_image(files[index])


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """All images below a folder, in the order of their names; hidden files are none."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and _shown(file, folder))
    strange = next((file for file in files if file.suffix.lower() not in SUFFIXES), None)
    if strange is not None:
        raise MergebenchError(f"{strange} is no image by its name; move it elsewhere ({', '.join(SUFFIXES)} are)")
    if not files:
        raise MergebenchError(f"{folder} is to be a class, but holds no images; fill it or remove it")
    return files


def _shown(file: Path, root: Path) -> bool:
    """Whether neither a file nor a folder that it lies in is hidden."""
    return not any(part.startswith(".") for part in file.relative_to(root).parts)
