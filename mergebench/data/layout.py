"""What folders of images mean: splits, classes, or folders that hold these; and what lies beside them unused."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from mergebench.data import splits
from mergebench.data.labels import normal
from mergebench.data.source import KINDS
from mergebench.errors import MergebenchError

# What lies beside folders of images and is never meant to be read.
_NOTES = ("readme", "license", "licence", "copying", "thumbs", "desktop", "citation", "notice")
_TABLES = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".lst", ".xml", ".mat", ".xlsx", ".parquet", ".pkl")


def folders(root: Path) -> list[Path]:
    """The folders in a folder, in the order of their names; hidden ones are none.

    Raises:
        MergebenchError: a link that leads nowhere: it may have been one of them.
    """
    shown = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    gone = next((entry for entry in shown if entry.is_symlink() and not entry.exists()), None)
    if gone is not None:
        raise MergebenchError(f"{gone} is a link that leads nowhere; mend or remove it")
    return sorted(entry for entry in shown if entry.is_dir())


def is_image(file: Path) -> bool:
    """Whether a file is an image by its name."""
    return file.suffix.lower() in KINDS and not file.name.startswith(".")


def beside(places: Iterable[Path], described: bool, unlisted: bool) -> tuple[str, ...]:
    """What lies beside folders of classes and is not used, in words.

    Args:
        places: the folders that hold them.
        described: whether there is a description, which more can be said in.
        unlisted: whether somebody has said that no list of splits counts.

    Raises:
        MergebenchError: files that are lists of splits by their names.
    """
    files = sorted(f for place in places for f in place.iterdir() if f.is_file() and not f.name.startswith("."))
    loose = sum(map(is_image, files))
    others = [f for f in files if not is_image(f) and not f.name.lower().startswith(_NOTES)]
    lists = [f for f in others if f.suffix.lower() in _TABLES and splits.looks_like(f.stem)]
    if lists and described and not unlisted:
        names = ", ".join(f.name for f in lists[:3])
        raise MergebenchError(
            f"{lists[0].parent} has lists of splits beside its folders ({names}): write what they say into a .csv file "
            "of image, label and split, or say that they do not count (`split: ''`)"
        )
    names = ", ".join(repr(f.name) for f in others[:3]) + ", ..." * (len(others) > 3)
    told = [f"{loose} images beside the folders of classes"] * bool(loose)
    return (*told, *[f"files {names}"] * bool(others))


def splits_of(root: Path, tops: list[Path], wanted: set[str], known: Collection[str] = ()) -> dict[str, Path]:
    """Split -> its folder, where folders are named as splits and have folders of classes; then no other may be there.

    Folders that are all known as names of classes are none. One that was passed over might hold the very test images
    for which a part of train would be set aside.
    """
    if tops and {normal(top.name) for top in tops} <= {normal(name) for name in known}:
        return {}  # classes by their names, whatever else these mean
    named = [(split, top) for top in tops if (split := splits.meant(top.name, wanted)) is not None]
    found = {split: top for split, top in named if folders(top)}
    strangers = splits.strangers((top.name for top in tops), wanted)
    if not found and (strangers or len(tops) < 2):
        return {}
    bare = next((top for _, top in named if not folders(top)), None)
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


def check_depth(root: Path, classes: Mapping[str, list[Path]], described: bool) -> None:
    """Folders that hold no image, but folders, may be classes or hold them; then neither is taken on trust."""
    places = [folder for some in classes.values() for folder in some]
    bare = [folder for folder in places if folders(folder) and not any(map(is_image, folder.iterdir()))]
    speaking = [folder for folder in bare if splits.looks_like(folder.name)]
    name_them = "name them under `classes:`" if described else "give folders of another name"
    if len(places) > 1 and not bare and all(splits.looks_like(folder.name) for folder in places):
        raise MergebenchError(
            f"{root}: {', '.join(folder.name for folder in places[:3])} are splits by their names, but have no "
            f"folders of images, one per class; if they are the classes, {name_them}"
        )
    flat = [folder.name for folder in places if folder not in bare and splits.kept_back(folder.name)]
    if len(places) > 1 and flat and classes.keys() == {"train"} and not speaking:
        raise MergebenchError(
            f"{root}: is {flat[0]!r} a class, or a split? If it is a class, {name_them}"
            + (" (all classes)" if described else "")
            + "; a split has a folder of images for each class, beside `train`, which has the others"
        )
    if not bare or (len(bare) < len(places) and not speaking):
        return
    inner = folders((speaking or bare)[0])[0]
    if speaking and classes.keys() == {"train"}:
        names = [folder.name for folder in speaking]
        role = {name: splits.role_of(name) for name in names}
        told = [f"{role[name]}: {name}" for name in names if list(role.values()).count(role[name]) == 1]
        told += ["train: ..."] * ("train" not in role.values())
        remedy = f"Name splits under `splits:` ({', '.join(told)}), or classes under `classes:`"
        raise MergebenchError(
            f"{root}: are {', '.join(names)} splits with classes as {inner.name!r}, or classes themselves? "
            + (remedy if described else "Give the one of the training images, or folders of another name")
        )
    if len(places) == 1:
        raise MergebenchError(f"{root} holds one folder, of folders: give {bare[0]}, if its folders are the classes")
    outer = ", ".join(str(folder.relative_to(root)) for folder in bare[:3])
    remedy = f"If they are, {name_them}; otherwise " if described else ""
    remedy += f"{'give' if described else 'Give'} one folder per class, " + (
        "or a .csv file of image and label" if described else "or of images alone"
    )
    deeper = inner.relative_to(root)
    raise MergebenchError(
        f"{root}: are its folders ({outer}, ...) the classes, or those in them ({deeper}, ...)? {remedy}"
    )
