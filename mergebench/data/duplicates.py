"""One and the same image, to the byte, where it must not be twice: in two of a task's splits, or under two labels."""

import hashlib
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import overload

from mergebench.data.image_cache import cache_root
from mergebench.data.source import FILE, Part
from mergebench.errors import MergebenchError
from mergebench.weights.sealed import read_sealed, write_sealed

VERSION = 1  # raise it whenever other images would be found


def shared(parts: Mapping[str, Part]) -> str:
    """What a task's splits share, in words; empty if they share nothing.

    Args:
        parts: split -> its images. Those whose content is not at hand are left aside.
    """
    seen: dict[bytes, list[tuple[str, int, int]]] = {}
    for split, number, digest in _digests(parts):
        seen.setdefault(digest, []).append((split, number, int(parts[split].labels[number])))
    several = [found for found in seen.values() if len({split for split, _, _ in found}) > 1]
    labels = [found for found in seen.values() if len({label for _, _, label in found}) > 1]
    told = []
    for what, groups, key in (("several splits", several, 0), ("several classes", labels, 2)):
        if groups:
            first, *rest = groups[0]
            other = next(entry for entry in rest if entry[key] != first[key])
            names = " and ".join(f"{parts[split].told(number)} ({split})" for split, number, _ in (first, other))
            told.append(f"{len(groups):,} {'images are' if len(groups) > 1 else 'image is'} in {what}, as {names}")
    return "; ".join(told)


@overload
def remembered(key: str, parts: Mapping[str, Part], write: bool) -> str: ...
@overload
def remembered(key: str, parts: None, write: bool) -> str | None: ...
def remembered(key: str, parts: Mapping[str, Part] | None, write: bool) -> str | None:
    """As `shared`, which is asked but once for one key; None if it was not asked yet and no parts are given.

    Args:
        key: changes whenever parts would.
        parts: as `shared` has them.
        write: whether the answer may be kept.
    """
    file = cache_root() / "duplicates" / f"{hashlib.sha256(f'{VERSION}|{key}'.encode()).hexdigest()[:16]}.json"
    kept = read_sealed(file)
    answer = kept.get("shared")
    if isinstance(answer, str) and "checksum" in kept:  # earlier versions' could be damaged unseen
        return answer
    if parts is None:
        return None
    found = shared(parts)
    if write:
        with suppress(MergebenchError):
            write_sealed(file, {"shared": found})
    return found


def _digests(parts: Mapping[str, Part]) -> list[tuple[str, int, bytes]]:
    """Split, number and hash of every image that may have its like: a file of a size of its own has none."""
    files: dict[Path, list[tuple[str, int]]] = {}
    found = []
    for split, part in parts.items():
        if part.content is None:
            continue
        for number in range(len(part.labels)):
            try:
                content = part.content(number)
            except MergebenchError:  # told when it is to be decoded, with where it is
                continue
            if isinstance(content, Path):
                files.setdefault(content, []).append((split, number))
            else:
                found.append((split, number, hashlib.blake2b(content, digest_size=16).digest()))
    sizes: dict[int, list[Path]] = {}
    for file in files:
        with suppress(OSError):
            status = file.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= FILE:  # others are told when they are to be decoded
                sizes.setdefault(status.st_size, []).append(file)
    for alike in sizes.values():
        if len(alike) == 1 and len(files[alike[0]]) == 1:
            continue
        for file in alike:
            with suppress(OSError), file.open("rb") as opened:  # told when it is to be decoded
                digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).digest()
                found += [(split, number, digest) for split, number in files[file]]
    order = {split: place for place, split in enumerate(parts)}
    return sorted(found, key=lambda entry: (order[entry[0]], entry[1]))
