"""Data sets whose canonical source is torchvision."""

import inspect
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from mergebench.data.array_files import builder
from mergebench.data.image_cache import cache_root
from mergebench.data.source import Found, Part, Source, identity_of
from mergebench.data.task import Place
from mergebench.errors import MergebenchError


def find(name: str, subset: str, place: Place) -> Found:
    """A data set of torchvision's.

    Its files lie in `torchvision/` of the cache folder, where torchvision downloads them and checks their sums; or in
    `torchvision/Class` of the place's root.

    Args:
        name: of the class.
        subset: what stands for `split=` where `train=` says the split, as with EMNIST ("letters").
        place: where it is looked at from.

    Raises:
        MergebenchError: no files in the place's root.
    """
    if place.root is None:
        root, identity = cache_root() / "torchvision", f"torchvision:{name}"
    else:
        root = place.root / "torchvision" / name
        if not root.is_dir():
            raise MergebenchError(f"no data set torchvision:{name} in {place.root}: there is no folder {root}")
        identity = identity_of(root, (file for file in root.rglob("*") if file.is_file()))

    def read(asked: set[str]) -> Source:
        download = place.download and place.root is None
        sets = {split: _opened(name, split, subset, root, download) for split in sorted(asked)}
        there = {split: images for split, images in sets.items() if images is not None}
        classes = {tuple(map(_name, images.classes)) for images in there.values() if hasattr(images, "classes")}
        return Source({split: _part(images, name, split) for split, images in there.items()}, next(iter(classes), None))

    return Found(identity, read)


def _opened(name: str, split: str, subset: str, root: Path, download: bool) -> Any:
    """One split as torchvision gives it; None if the class has no such split."""
    import torchvision

    maker = getattr(torchvision.datasets, name, None)
    if not (inspect.isclass(maker) and issubclass(maker, torchvision.datasets.VisionDataset)):
        raise MergebenchError(f"torchvision has no data set {name!r}; its names are as in torchvision.datasets")
    # EMNIST hands `train` on to its parent class, so its own signature does not tell.
    parameters = {p for parent in maker.__mro__[:2] for p in inspect.signature(parent.__init__).parameters}
    options: dict[str, Any] = {"download": download} if "download" in parameters else {}
    if "train" in parameters:
        if split not in ("train", "test"):
            return None
        options["train"] = split == "train"
        options |= {"split": subset} if subset else {}
    elif "split" in parameters:
        options["split"] = split
    elif split != "train":  # it has no splits: all of it is train, and a part of that becomes test
        return None
    try:
        with suppress(RuntimeError):  # its files are not there
            return maker(root=str(root), **options | {"download": False} if "download" in options else options)
        # Of several processes that find them missing, one downloads them and the others wait.
        with builder(root, name) if options.get("download") else nullcontext():
            return maker(root=str(root), **options)
    except ValueError as error:  # torchvision's word for a split that it does not know
        if "split" in options and options["split"] == split:
            return None
        raise MergebenchError(f"torchvision:{name}: {error}") from None
    except TypeError as error:
        raise MergebenchError(f"torchvision:{name} is no data set of files in a folder: {error}") from None
    except (OSError, RuntimeError, ModuleNotFoundError) as error:
        told = str(error).splitlines()[0]
        remedy = f"; put its files into {root}, or {'try' if download else 'allow'} the download{' again' * download}"
        raise MergebenchError(f"torchvision:{name}: split {split!r} cannot be read: {told}{remedy}") from None


def _part(images: Any, name: str, split: str) -> Part:
    # EMNIST's files hold every image mirrored along its diagonal, and torchvision leaves them so; so does this.
    return Part(_labels(images), lambda index: images[index][0], lambda index: f"image {index} of {name}'s {split!r}")


def _labels(images: Any) -> Any:
    """All labels, without decoding images where the class keeps them apart."""
    import numpy as np

    for attribute in ("targets", "labels", "_labels"):
        if hasattr(images, attribute):
            return np.asarray(getattr(images, attribute), dtype=np.int64)
    if hasattr(images, "_samples"):
        return np.array([label for _, label in images._samples], dtype=np.int64)
    return np.array([images[index][1] for index in range(len(images))], dtype=np.int64)


def _name(name: Any) -> str:
    """A class's name; CIFAR's and others' are text, ImageNet's are tuples of synonyms."""
    return name if isinstance(name, str) else name[0]
