"""Folders of images: one folder per class, alone or in folders `train` and `test`."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from mergebench.data import splits
from mergebench.data.labels import normal
from mergebench.data.source import KINDS, Found, Part, Source, below, identity_of, open_image
from mergebench.errors import MergebenchError

SUFFIXES = tuple(KINDS)


def find(root: Path, wanted: set[str], known: Collection[str] = (), *, described: bool = True) -> Found:
    """A folder's images.

    Args:
        root: with one folder per class; or with folders named as the splits that are wanted (in any case), of such.
        wanted: names of splits.
        known: names of classes: folders called so are classes, whatever lies in them.
        described: whether there is a description, which more can be said in.
        described: whether there is a description, which more can be said in.

    Raises:
        MergebenchError: no folders, an empty one, or a file in one that is no image by its name; folders of splits
            beside others; folders that may be classes or hold them.
    """
    tops = _folders(root)
    parted = _splits(root, tops, wanted)
    classes = {split: _folders(top) for split, top in parted.items()} or {"train": tops}
    if not tops:
        raise MergebenchError(f"{root} has no folders of images, one per class")
    spelt = {folder.name for folders in classes.values() for folder in folders}
    if not {normal(name) for name in spelt} <= {normal(name) for name in known}:
        _check_depth(root, classes, described)
    files: dict[str, dict[str, list[Path]]] = {split: {} for split in classes}
    for split, folders in classes.items():
        for folder in folders:
            if normal(folder.name) in files[split]:
                raise MergebenchError(f"{folder.parent} has two folders {normal(folder.name)!r}; make them one")
            files[split][normal(folder.name)] = _images(folder)
    everything = [file for folders in files.values() for images in folders.values() for file in images]
    names = sorted({name for folders in files.values() for name in folders})

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
    loose = sum(_is_image(file) for place in (root, *parted.values()) for file in place.iterdir())
    told = (f"{loose} images beside the folders of classes",) if loose else ()
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
    tops, wanted = _folders(root), splits.wanted({})
    train = next((top for top in tops if top.name.lower() == "train"), None)
    if train is not None and not _folders(train) and not splits.strangers((top.name for top in tops), ()):
        return _unlabelled(train)
    if not any(_shown_images(top) for top in tops):
        return _unlabelled(root)
    parted = _splits(root, tops, wanted)
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


def _splits(root: Path, tops: list[Path], wanted: set[str]) -> dict[str, Path]:
    """Split -> its folder, where folders are named as splits and have folders of classes; then no other may be there.

    One that was passed over might hold the very test images for which a part of train would be set aside.
    """
    named = [(split, top) for top in tops if (split := splits.meant(top.name, wanted)) is not None]
    found = {split: top for split, top in named if _folders(top)}
    strangers = splits.strangers((top.name for top in tops), wanted)
    if not found and (strangers or len(tops) < 2):
        return {}
    bare = next((top for _, top in named if not _folders(top)), None)
    if bare is not None:
        raise MergebenchError(f"{bare} is a split by its name, but has no folders of images, one per class")
    if strangers:
        told = ", ".join(top.name for _, top in named)
        raise MergebenchError(
            f"{root} has folders of splits ({told}), and beside them {strangers[0]!r}; name it under `splits:` in "
            "place of one of them, or move it elsewhere"
        )
    if len(found) < len(named):
        raise MergebenchError(f"{root} has two folders of one split: {', '.join(top.name for _, top in named)}")
    return found


def _check_depth(root: Path, classes: Mapping[str, list[Path]], described: bool) -> None:
    """Folders that hold no image, but folders, may be classes or hold them; then neither is taken on trust."""
    folders = [folder for some in classes.values() for folder in some]
    bare = [folder for folder in folders if _folders(folder) and not any(map(_is_image, folder.iterdir()))]
    speaking = [folder for folder in bare if splits.looks_like(folder.name)]
    name_them = "name them under `classes:`" if described else "give folders of another name"
    if len(folders) > 1 and not bare and all(splits.looks_like(folder.name) for folder in folders):
        raise MergebenchError(
            f"{root}: {', '.join(folder.name for folder in folders[:3])} are splits by their names, but have no "
            f"folders of images, one per class; if they are the classes, {name_them}"
        )
    if not bare or (len(bare) < len(folders) and not speaking):
        return
    inner = _folders((speaking or bare)[0])[0]
    if speaking and classes.keys() == {"train"}:
        names = [folder.name for folder in speaking]
        role = {name: next((r for r in ("train", "test") if r in name.lower()), "validation") for name in names}
        told = ", ".join(f"{role[name]}: {name}" for name in names if list(role.values()).count(role[name]) == 1)
        remedy = f"Name splits under `splits:` ({told or 'train: ...'}), or classes under `classes:`"
        raise MergebenchError(
            f"{root}: are {', '.join(names)} splits with classes as {inner.name!r}, or classes themselves? "
            + (remedy if described else "Give the one of the training images, or folders of another name")
        )
    if len(folders) == 1:
        raise MergebenchError(f"{root} holds one folder, of folders: give {bare[0]}, if its folders are the classes")
    told = ", ".join(str(folder.relative_to(root)) for folder in bare[:3])
    remedy = f"If they are, {name_them}; otherwise " if described else ""
    remedy += f"{'give' if described else 'Give'} one folder per class, " + (
        "or a .csv file of image and label" if described else "or of images alone"
    )
    deeper = inner.relative_to(root)
    raise MergebenchError(
        f"{root}: are its folders ({told}, ...) the classes, or those in them ({deeper}, ...)? {remedy}"
    )


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _opener(files: list[Path]) -> Callable:
    return lambda index: open_image(files[index])


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


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
