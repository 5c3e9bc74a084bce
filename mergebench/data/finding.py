"""Which kind of source a description means, and where it is."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from mergebench.configuration import TaskConfig
from mergebench.data import csv_file, folders, tables, torchvision_sets
from mergebench.data.source import Found
from mergebench.data.task import Place
from mergebench.errors import MergebenchError, retold
from mergebench.weights.hub import Hub, is_location

TORCHVISION = "torchvision:"
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z"}


def find(config: TaskConfig, folder: Path, place: Place, asked: set[str], *, alone: bool) -> Found:
    """What a description's `data` names; a data set on the hub is fetched.

    Args:
        config: the description.
        folder: that paths in it are relative to.
        place: where it is looked at from.
        asked: the splits that may be read.
        alone: whether no other split is fetched from the hub, not even to know that it is there.

    Raises:
        MergebenchError: it is not there, or is nothing of the kind.
    """
    path = folder / config.data
    try:
        path.exists()
    except OSError as error:  # longer than a name may be
        raise MergebenchError(f"`data` ({config.data[:40]!r}...) is no path: {error.strerror}; shorten it") from None
    if config.data.startswith(TORCHVISION):
        _check_unused(config, "torchvision's data sets", "image", "label", "split", "outside")
        return torchvision_sets.find(config.data.removeprefix(TORCHVISION), config.subset, place)
    if path.suffix.lower() in csv_file.SUFFIXES and not path.is_dir():
        _check_unused(config, "a .csv file", "subset")
        return csv_file.find(path, config.image, config.label, config.split, outside=config.outside)
    if path.is_dir():
        if tables.is_table(path):
            _check_unused(config, "tables, which have a file for each split", *["split"] * bool(config.split))
            unsplit, outside = config.split == "", config.outside
            return tables.find(path, asked, config.subset, config.image, config.label, unsplit=unsplit, outside=outside)
        _check_unused(
            config, "folders of images", "subset", "image", "label", "outside", *["split"] * bool(config.split)
        )
        others = (name for names in config.labels for name in ([names] if isinstance(names, str) else names))
        return folders.find(path, asked, [*config.classes, *others], unlisted=config.split == "")
    if path.is_file():
        raise MergebenchError(f"{path} {_other_file(path)}")
    if is_location(config.data, inside=False):
        try:
            return _on_the_hub(config, asked, place, alone)
        except MergebenchError as error:
            if not path.parent.is_dir():
                raise
            # `photos/flower` may be meant for the folder `photos/flowers` just as well.
            raise retold(error, f"{error}; and there is no folder {path}") from None
    raise MergebenchError(
        f"no data at {path}; give a folder, a .csv file, owner/name on the hub, or {TORCHVISION}Class"
    )


def _other_file(path: Path) -> str:
    """Why a file that is there cannot be read as data, and what helps."""
    suffix = path.suffix.lower()
    if suffix in tables.SUFFIXES:
        return f"is one file of a table: give its folder, {path.parent}, with a file for each split in it"
    if suffix in ARCHIVES:
        return "is an archive: unpack it, and give the folder"
    if suffix in folders.SUFFIXES:
        return "is one image: give a folder of one folder per class, or a .csv file of image and label"
    return "is no .csv or .tsv file: write what it says into one, of image, label and split"


def is_local(config: TaskConfig, folder: Path) -> bool:
    """Whether a description's data are files on this disk that nobody publishes with splits of their own."""
    path = folder / config.data
    return not config.data.startswith(TORCHVISION) and (path.is_dir() or path.suffix.lower() in csv_file.SUFFIXES)


def _check_unused(config: TaskConfig, kind: str, *fields: str) -> None:
    """Refuses fields of a description that say nothing of this kind of data."""
    default = TaskConfig(data=config.data)
    unused = next((field for field in fields if getattr(config, field) != getattr(default, field)), None)
    if unused is not None:
        raise MergebenchError(f"`{unused}` ({getattr(config, unused)!r}) says nothing of {kind}; leave it out")


def _on_the_hub(config: TaskConfig, asked: set[str], place: Place, alone: bool) -> Found:
    _check_unused(config, "tables, which have a file for each split", "outside", *["split"] * bool(config.split))
    hub = Hub(place.root, place.download)
    root = hub.folder(config.data, tables.patterns(asked if alone else (), config.subset), kind="dataset")
    commit = hub.revision(config.data, kind="dataset")
    name, _, revision = config.data.partition("@")
    origin = f"{name}@{commit}" if commit else ""
    if not tables.is_table(root) and (files := hub.names(config.data, kind="dataset")):
        other = f"; {place.root} has but one revision of it, and not {revision}" if revision and place.root else ""
        raise MergebenchError(_without_tables(name, files, root if place.root else None) + other)
    found = tables.find(root, asked, config.subset, config.image, config.label, origin, unsplit=config.split == "")
    told = found.passed_over
    if revision and place.root is not None:
        told = (*told, f"revision {revision!r}, for {place.root} has but one of {name}")
    # What else lies there may have been fetched for another description, which must not change what this one means.
    return replace(found, origin=origin, splits=() if alone else found.splits, passed_over=told)


def _without_tables(name: str, files: Collection[str], at: Path | None) -> str:
    """What is to be done about a data set on the hub, or at a place instead, that has no parquet or arrow files."""
    fetch = f"fetch it (hf download --repo-type dataset {name} --local-dir FOLDER)" if at is None else ""
    kinds = {Path(file).suffix.lower() for file in files}
    if ".py" in kinds:
        told = f"is a script, which is not run; {name}@refs/convert/parquet usually has the tables"
    elif kinds & set(folders.SUFFIXES):
        told = f"is a folder of images; {f'{fetch} and give FOLDER' if fetch else f'give {at}'}"
    elif kinds & ARCHIVES:
        told = f"is in archives; {f'{fetch}, unpack it' if fetch else f'unpack those in {at}'} and give the folder"
    else:
        told = "has no parquet or arrow files of these splits; give a folder, a .csv file, or another data set"
    return f"{name} {told}"
