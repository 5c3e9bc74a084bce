"""Which kind of source a description means, and where it is."""

from dataclasses import replace
from pathlib import Path

from mergebench.configuration import TaskConfig
from mergebench.data import csv_file, folders, tables, torchvision_sets
from mergebench.data.source import Found
from mergebench.data.task import Place
from mergebench.errors import MergebenchError, retold
from mergebench.weights.hub import Hub, is_location

TORCHVISION = "torchvision:"


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
    columns = {"image": config.image, "label": config.label}
    if config.data.startswith(TORCHVISION):
        return torchvision_sets.find(config.data.removeprefix(TORCHVISION), config.subset, place)
    if path.suffix.lower() == ".csv":
        return csv_file.find(path, **columns)
    if path.is_dir():
        if tables.is_table(path):
            return tables.find(path, asked, config.subset, **columns)
        return folders.find(path, asked)
    if is_location(config.data):
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


def _on_the_hub(config: TaskConfig, asked: set[str], place: Place, alone: bool) -> Found:
    hub = Hub(place.root, place.download)
    root = hub.folder(config.data, tables.patterns(asked if alone else (), config.subset), kind="dataset")
    commit = hub.revision(config.data, kind="dataset")
    origin = f"{config.data.partition('@')[0]}@{commit}" if commit else ""
    found = tables.find(root, asked, config.subset, config.image, config.label, identity=origin)
    # What else lies there may have been fetched for another description, which must not change what this one means.
    return replace(found, origin=origin, splits=() if alone else found.splits)
