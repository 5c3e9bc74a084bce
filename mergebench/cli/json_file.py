"""`--json FILE` of verbs that find something: the same as data, for a script to read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from mergebench.errors import MergebenchError


def add_json_option(parser: ArgumentParser, of: str = "") -> None:
    """The option; `of` says whose it is, where a verb does several things."""
    parser.add_argument("--json", type=str | None, default=None, help=f"{of}also write all that was found to this file")


def writable(place: str | None) -> None:
    """Refuse a file that cannot be written, before anything is computed; and one that is something else.

    Raises:
        MergebenchError: it cannot, or it is there and called as no JSON file is.
    """
    from mergebench.weights.writing import check_writable

    if place is not None:
        if Path(place).suffix != ".json" and Path(place).is_file() and not _is_found(Path(place)):
            raise MergebenchError(f"--json {place}: is there already, and no .json file; name another")
        check_writable(place)


def _is_found(path: Path) -> bool:
    """Whether a file is what a verb wrote before, under a name that JSON files do not have."""
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def write_json(place: str | None, found: Mapping[str, Any]) -> None:
    """Write it, if a file was named: whole or not at all."""
    from mergebench.weights.writing import writing

    if place is not None:
        with writing(place) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
