"""Data sets whose canonical source is torchvision."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergebench.data.array_files import builder
from mergebench.data.image_cache import cache_root
from mergebench.data.source import Found, Part, Source, check_pixels, identity_of, without_warnings
from mergebench.data.task import Place
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np


# What else than a split some classes take, by their parameter's name: what `subset` stands for.
_SUBSETS = {"partition": int, "annotation_level": str}
# Their names of classes were not known to the first version of this reader.
_CODE = ("LSUN", "LSUNClass")
_NAMED_ANEW = ("Caltech101", "Caltech256")


def find(name: str, subset: str, place: Place) -> Found:
    """A data set of torchvision's.

    Its files lie in `torchvision/` of the cache folder, where torchvision downloads them and checks their sums; or in
    `torchvision/Class` of the place's root.

    Args:
        name: of the class.
        subset: what stands for `split=` where `train=` says the split, as with EMNIST ("letters"); or a DTD's
            `partition`, an FGVCAircraft's `annotation_level`.
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
    if name in _NAMED_ANEW or (subset and name in ("DTD", "FGVCAircraft")):
        identity += "|2"

    def read(asked: set[str]) -> Source:
        download = place.download and place.root is None
        sets = {split: _opened(name, split, subset, root, download) for split in sorted(asked)}
        there = {split: images for split, images in sets.items() if images is not None}
        names, ids = _joined({split: _class_names(images) for split, images in there.items()}, name)
        parts = {split: _part(images, name, split, root) for split, images in there.items()}
        for split, moved in ids.items():
            parts[split] = replace(parts[split], labels=moved[parts[split].labels])
        return Source(parts, names)

    return Found(identity, read)


def _opened(name: str, split: str, subset: str, root: Path, download: bool) -> Any:
    """One split as torchvision gives it; None if the class has no such split."""
    import torchvision
    from PIL import EpsImagePlugin

    without_warnings()
    EpsImagePlugin.gs_binary = False  # torchvision opens files of any kind, and PostScript is a program
    if name in _CODE:
        raise MergebenchError(f"torchvision:{name} keeps a pickle beside its files, which may run code; it is not read")
    maker: Any = getattr(torchvision.datasets, name, None)
    known = inspect.isclass(maker) and issubclass(maker, torchvision.datasets.VisionDataset)
    if not known:
        raise MergebenchError(f"torchvision has no data set {name!r}; its names are as in torchvision.datasets")
    # EMNIST hands `train` on to its parent class, so its own signature does not tell.
    parameters = {
        n: p for parent in maker.__mro__[:2] for n, p in inspect.signature(parent.__init__).parameters.items()
    }
    options: dict[str, Any] = {"download": download} if "download" in parameters else {}
    other = next((n for n in _SUBSETS if n in parameters), "")
    if "train" in parameters:
        if split not in ("train", "test"):
            return None
        options["train"] = split == "train"
        other = other or ("split" if "split" in parameters else "")
    elif "split" in parameters:
        options["split"] = split
    elif split != "train":  # it has no splits: all of it is train, and a part of that becomes test
        return None
    if subset and not other:
        raise MergebenchError(f"torchvision:{name} has no subsets; leave out `subset` ({subset!r})")
    if subset and _SUBSETS.get(other) is int and not subset.isdigit():
        raise MergebenchError(f"torchvision:{name}: `subset` is its {other}, a number, not {subset!r}")
    if subset:
        options[other] = _SUBSETS.get(other, str)(subset)
    elif other == "split" and inspect.signature(maker.__init__).parameters["split"].default is inspect.Parameter.empty:
        told = ", ".join(getattr(maker, "splits", ()))
        raise MergebenchError(f"torchvision:{name} has several sets: choose one by `subset`{f' ({told})' * bool(told)}")
    try:
        with suppress(RuntimeError):  # its files are not there
            return maker(root=str(root), **options | {"download": False} if "download" in options else options)
        # Of several processes that find them missing, one downloads them and the others wait.
        with builder(root, name) if options.get("download") else nullcontext():
            return maker(root=str(root), **options)
    except ValueError as error:
        gone = "download" in str(error)
        unknown = "argument split" in str(error) or not (subset or gone)  # a split that it has not
        if unknown and options.get("split") == split:
            return None
        raise _unread(name, split, "" if gone else subset, root, str(error), options.get("download"), gone) from None
    except TypeError as error:
        raise MergebenchError(f"torchvision:{name} is no data set of files in a folder: {error}") from None
    except (OSError, RuntimeError, ModuleNotFoundError) as error:
        gone = "no longer available" in str(error)
        raise _unread(name, split, "", root, str(error), options.get("download"), gone) from None


def _unread(
    name: str, split: str, subset: str, root: Path, reason: str, download: bool | None, gone: bool
) -> MergebenchError:
    """Why a split cannot be read, and what helps.

    Args:
        name, split, subset, root: which, and where its files are looked for.
        reason: torchvision's.
        download: whether it may be downloaded; None: torchvision cannot do that.
        gone: whether nobody can.
    """
    told = reason.splitlines()[0].rstrip(".")
    if subset:
        return MergebenchError(f"torchvision:{name}: {told} (see `subset`: {subset!r})")
    remedy = f"put its files into {root}"
    if download is not None and not gone:
        remedy += f", or {'try' if download else 'allow'} the download{' again' * download}"
    return MergebenchError(f"torchvision:{name}: split {split!r} cannot be read: {told}; {remedy}")


def _part(images: Any, name: str, split: str, root: Path) -> Part:
    # EMNIST's files hold every image mirrored along its diagonal, and torchvision leaves them so; so does this.
    labels = _labels(images, name, split)
    told = lambda index: f"image {index} of {name}'s {split!r}"  # noqa: E731

    def image(index: int) -> Any:
        found = images[index][0]
        if hasattr(found, "width"):
            check_pixels(found)
        return found

    return Part(labels, image, told, _content(images, root))


def _content(images: Any, root: Path) -> Callable[[int], Path | bytes] | None:
    """What tells a set's images apart without decoding them: its pixels or files, wherever it keeps these."""
    import numpy as np

    data = getattr(images, "data", None)
    if data is not None and hasattr(data, "__getitem__") and hasattr(data, "shape") and len(data) == len(images):
        return lambda index: np.asarray(data[index]).tobytes()
    for kept in ("imgs", "_image_files", "_samples", "samples", "_images", "images"):
        files = getattr(images, kept, None)
        if isinstance(files, (list, tuple)) and len(files) == len(images) > 0:
            paths = [file[0] if isinstance(file, (list, tuple)) else file for file in files]
            if all(isinstance(path, (str, Path)) and (root / path).is_file() for path in (paths[0], paths[-1])):
                return lambda index: root / paths[index]
    return None


def _labels(images: Any, name: str, split: str) -> Any:
    """All labels, without decoding images where the class keeps them apart."""
    import numpy as np

    found = next((getattr(images, a) for a in ("targets", "labels", "_labels", "y") if hasattr(images, a)), None)
    if found is None and hasattr(images, "_samples"):
        found = [label for _, label in images._samples]
    if found is None or np.ndim(found) != 1:  # QMNIST's have notes beside them
        found = [images[index][1] for index in range(len(images))]
    if any(label is None for label in found):
        raise MergebenchError(
            f"torchvision:{name}: its split {split!r} has no labels; name another under `splits` ({split}: ...)"
        )
    return np.asarray(found, dtype=np.int64)


def _class_names(images: Any) -> tuple[str, ...] | None:
    """What a set calls its classes: text, or (ImageNet) tuples of synonyms; None: nothing."""
    named = next((getattr(images, a) for a in ("classes", "categories") if hasattr(images, a)), None)
    if named is None:
        return None
    firsts = [name if isinstance(name, str) else name[0] for name in named]
    synonyms = [name if isinstance(name, str) else ", ".join(name) for name in named]
    # Two of ImageNet's are a crane: then all synonyms tell them apart, or else their numbers.
    told = [whole if firsts.count(first) > 1 else first for first, whole in zip(firsts, synonyms, strict=True)]
    return tuple(f"{name} ({place})" if told.count(name) > 1 else name for place, name in enumerate(told))


def _joined(
    named: Mapping[str, tuple[str, ...] | None], name: str
) -> "tuple[tuple[str, ...] | None, dict[str, np.ndarray]]":
    """One list of names for all splits; and where a split has another, what its labels are there.

    Raises:
        MergebenchError: some splits name their classes and others do not.
    """
    import numpy as np

    lists = set(named.values())
    if len(lists) < 2:
        return next(iter(lists), None), {}
    known = {split: own for split, own in named.items() if own is not None}
    if len(known) < len(named):
        raise MergebenchError(
            f"torchvision:{name}: of its splits {', '.join(named)} only {', '.join(known)} name their classes; "
            "leave the others out, by `splits`"
        )
    first = known.get("train") or next(iter(known.values()))
    names = tuple(dict.fromkeys([*first, *(n for split in sorted(known) for n in known[split])]))
    ids = {split: np.array([names.index(n) for n in own], dtype=np.int64) for split, own in known.items()}
    return names, ids
