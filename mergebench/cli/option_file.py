"""`run --config FILE`: a YAML file's fields as the options that they stand for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mergebench.errors import MergebenchError

OPTION = "--config"
TRUST = "--allow-code"
NAMING = ("methods", "set", "hyperparameters")  # the fields in which methods are named


def expanded(arguments: Sequence[str]) -> list[str]:
    """A command line in which options stand in the place of every `--config FILE`; later ones win, as always.

    Args:
        arguments: as typed, after the program's name.

    Raises:
        MergebenchError: no such file, not YAML, a field that no option can stand for, or code that only the file names.
    """
    left, found = list(arguments), []
    while left:
        word = left.pop(0)
        name, equals, file = word.partition("=")
        if name != OPTION or not (equals or left):
            found.append(word)
        else:
            found += _options(file if equals else left.pop(0), TRUST in arguments)
    return found


def _options(file: str, allowed: bool) -> list[str]:
    from mergebench.catalogue.trust import check_methods, method_files
    from mergebench.catalogue.yaml_files import read_yaml

    if not Path(file).is_file():
        raise MergebenchError(f"{OPTION}: no such file: {file}")
    fields = read_yaml(Path(file))
    if not isinstance(fields, dict):
        raise MergebenchError(f"{OPTION}: {file} holds no fields; write them as suite: tiny-8")
    if "config" in fields:
        raise MergebenchError(f"{OPTION}: {file} names another file of options; give both on the command line")
    fields = {str(name).replace("-", "_"): value for name, value in fields.items()}
    if "allow_code" in fields:
        raise MergebenchError(f"{OPTION}: {file} cannot allow itself to name code; give {TRUST} on the command line")
    check_methods({f"{OPTION} {file}": method_files(fields, NAMING)}, allowed)
    return [word for name, value in fields.items() for word in _option(f"--{str(name).replace('_', '-')}", value)]


def _option(name: str, value: Any) -> list[str]:
    """One field as words: `seeds: [0, 1]` is `--seeds 0 1`, `only: {order: [1, 2]}` is `--only order=1,2`."""
    if value is None or value is False or value in ([], {}):
        return []
    if value is True:
        return [name]
    if name == "--hyperparameters":
        return [name, json.dumps(value, default=str)]
    if isinstance(value, dict):
        from mergebench.suites.variant import as_text

        listed = {key: v if isinstance(v, list) else [v] for key, v in value.items()}
        return [name, *(f"{key}={','.join(map(as_text, values))}" for key, values in listed.items())]
    return [name, *map(str, value if isinstance(value, list) else [value])]
