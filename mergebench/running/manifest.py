"""The manifest of a folder that was packed for others: what is in it, file by file, and whether it still is."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mergebench.errors import MergebenchError, unprefixed
from mergebench.running.contents import MANIFEST

LARGEST = 64_000_000  # bytes of a manifest that are read: 300,000 files


class Listed(BaseModel):
    """One file: its SHA-256 and its size in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """What an archive holds.

    Args:
        mergebench: the version that packed it.
        results, failed: how many results there are, and how many of them are of cells that failed.
        suites: suite or study -> its results.
        rewritten: files in which names of home folders were replaced; their own checksums were made anew.
        files: place -> what lies there, but for the manifest itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Annotated[int, Field(ge=1, le=1)] = 1
    mergebench: str
    results: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    suites: dict[str, int]
    rewritten: list[str] = []
    files: dict[str, Listed]


def listed(content: bytes) -> Listed:
    """A file as a manifest lists it."""
    return Listed(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def read_manifest(out: Path) -> Manifest:
    """The manifest in a folder.

    Raises:
        MergebenchError: it is none, or cannot be read.
    """
    path = out / MANIFEST
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise MergebenchError(f"{path}: it has more than {LARGEST:,} bytes; unpack the archive again")
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise MergebenchError(f"{path}: it is no manifest ({where}: {unprefixed(first['msg'])})") from None
    except OSError as error:
        raise MergebenchError(f"{path}: it cannot be read ({error.strerror}); unpack the archive again") from None


def differing(manifest: Manifest, out: Path, there: Mapping[str, int]) -> dict[str, str]:
    """How a folder differs from its manifest; nothing is opened that was not found in it.

    Args:
        manifest: its.
        out: the folder.
        there: place -> size in bytes of the files that it has, of the kinds that are packed.

    Returns:
        place -> what is wrong with it.
    """
    found = {place: "the manifest lists it, and it is not there" for place in manifest.files.keys() - there.keys()}
    found |= {place: "the manifest does not list it" for place in there.keys() - manifest.files.keys()}
    for place in manifest.files.keys() & there.keys():
        wanted = manifest.files[place]
        try:
            same = there[place] == wanted.bytes and _digest(out / place) == wanted.sha256
        except OSError as error:
            found[place] = f"it cannot be read ({error.strerror})"
            continue
        if not same:
            found[place] = "it is not what the manifest lists: it was changed since it was packed"
    return dict(sorted(found.items()))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
