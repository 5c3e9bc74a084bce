"""What a command line says of a task of one's own: the fields of a described task, as options or in a file."""

from contextlib import suppress
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveFloat

from mergebench.cli.options import add_duplicates_option
from mergebench.errors import MergebenchError

# Option -> what it says, with --data; each is a field of a described task.
_TEXTS = {
    "subset": "configuration of a data set that has several",
    "image": "column of the images",
    "label": "column of the labels",
    "split": "column that says the split, in a .csv file; '' if none does",
    "alpha": "what is seen where images are transparent: white, black, or dropped (hidden colours)",
}
_LISTS = {
    "templates": "prompts, {} for the class",
    "classes": "names of the classes, in the order of the labels",
    "labels": "what the data call them, one for each class",
}


def add_description_options(parser: ArgumentParser) -> None:
    """What `--data` leaves open."""
    parser.add_argument(
        "--describe", type=str | None, default=None, help="FILE.yaml: the fields of a described task (docs/models.md)"
    )
    for name, told in _TEXTS.items():
        parser.add_argument(f"--{name}", type=str | None, default=None, help=f"with --data: {told}")
    for name, told in _LISTS.items():
        parser.add_argument(f"--{name}", nargs="+", type=str, default=[], help=f"with --data: {told}")
    parser.add_argument(
        "--splits", nargs="+", type=str, default=[], help="with --data: train=NAME, validation=NAME, test=NAME"
    )
    parser.add_argument("--counts", nargs="+", type=str, default=[], help="with --data: NAME=NUMBER of images")
    parser.add_argument(
        "--white", type=PositiveFloat | None, default=None, help="with --data: value of white, above 8 bits a channel"
    )
    parser.add_argument(
        "--outside", action="store_true", help="with --data: the table may name images outside of its folder"
    )
    add_duplicates_option(parser)


def description(config: Namespace) -> dict[str, Any]:
    """The fields that are given; an option wins over the file. Paths are relative to the current folder.

    Raises:
        MergebenchError: a file that cannot be read, or describes a zoo; an item without `=`.
    """
    given = of_file(config.describe) if config.describe else {}
    given |= {name: config[name] for name in (*_TEXTS, "white") if config[name] is not None}
    given |= {name: list(config[name]) for name in _LISTS if config[name]}
    given |= {"outside": True} if config.outside else {}
    for name in ("splits", "counts"):
        if config[name]:
            items = [item.partition("=") for item in config[name]]
            odd = next((whole for whole, item in zip(config[name], items, strict=True) if not all(item)), None)
            if odd is not None:
                raise MergebenchError(f"--{name} {odd}: write NAME={'NUMBER' if name == 'counts' else 'NAME'}")
            given[name] = {key: value for key, _, value in items}
    return given


def describes_a_task(path: str) -> bool:
    """Whether a YAML file holds a task's fields, and is no suite, study or zoo."""
    from pathlib import Path

    from mergebench.catalogue.yaml_files import read_yaml

    content = read_yaml(Path(path)) if Path(path).is_file() else None
    return isinstance(content, dict) and "data" in content and not {"tasks", "zoo", "suite"} & content.keys()


def of_file(path: str) -> dict[str, Any]:
    """The fields of a described task in a YAML file; paths in it are relative to the file.

    Raises:
        MergebenchError: it cannot be read, or describes a zoo.
    """
    from pathlib import Path

    from mergebench.catalogue.yaml_files import read_yaml

    content = read_yaml(Path(path))
    if not isinstance(content, dict) or "tasks" in content:
        raise MergebenchError(f"{path} describes no task: write its fields alone, as data: FOLDER (docs/models.md)")
    odd = next((name for name in content if not isinstance(name, str)), "")
    if odd != "":
        raise MergebenchError(f"{path}: {odd!r} is the name of no field; the fields are those of docs/models.md")
    for field in ("data", "head"):
        beside = Path(path).parent / str(content.get(field, ""))
        with suppress(OSError, ValueError):  # what is no path is told where it is looked for
            if content.get(field) and beside.exists():
                content[field] = str(beside)
    return content
