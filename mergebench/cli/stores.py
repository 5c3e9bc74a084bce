"""Folders of results as verbs open them: what was counted once is remembered in the cache folder."""

import hashlib
import os
from pathlib import Path

from mergebench.data.image_cache import cache_root
from mergebench.measuring.results import ResultStore


def store_of(out: str | Path) -> ResultStore:
    """The results in a folder."""
    return ResultStore(out, counts_of(out))


def counts_of(out: str | Path) -> Path:
    """Where counts of a folder's predictions are kept."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()[:16]
    return cache_root() / "counts" / f"{name}.counts"
