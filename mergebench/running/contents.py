"""What lies in a run's folder, by kind: known from where a file lies and what it is called, no link followed."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from mergebench.errors import MergebenchError
from mergebench.measuring.results import ASIDE

RESULT, PREDICTIONS, TRIALS, SETTINGS = "results", "predictions", "records of searches", "settings"
SET_ASIDE, LEASE, TEMPORARY, PAGES, LINK = "set aside", "leases", "temporary files", "pages and pictures", "links"
ARCHIVE, UNKNOWN = "of an archive", "not known"
MANIFEST, README = "MANIFEST.json", "README.md"
# Folder -> depth below it at which files lie (None: any), endings, kind.
PLACES: dict[str, tuple[int | None, tuple[str, ...], str]] = {
    "cells": (1, (".json",), RESULT),
    "tuning": (1, (".json",), TRIALS),
    "settings": (0, (".yaml",), SETTINGS),
    ASIDE: (1, (".json", ".npz"), SET_ASIDE),
    "leases": (None, (".lease",), LEASE),
    "series": (0, (".md", ".png", ".csv"), PAGES),
    "compare": (0, (".png",), PAGES),
    "inspect": (1, (".png", ".csv", ".json", ".md"), PAGES),
    "site": (None, (".html", ".js", ".css", ".svg", ".webp", ".png", ".txt"), PAGES),
}
CELL = re.compile(r".+-[0-9a-f]{12}\.npz")  # what is called after a cell's key
# How `writing` calls a file until it is whole, and leases one that they take away.
BEGUN = re.compile(r"\.(.+)\.(?:[a-z0-9_]{8}|[0-9a-f]{32}\.away)")
EARLIER = "leaderboard.html"  # the page that earlier versions wrote
PROBE = "any"  # what a folder is tried with, whether it can be written


class File(NamedTuple):
    """One entry of a run's folder.

    Args:
        place: below the folder, with slashes.
        kind: one of the above.
        size: bytes.
        touched: when it, or what it is called, was last changed: seconds since 1970.
        identity: device, inode, size and time of the last change, which another file in its place does not share.
    """

    place: str
    kind: str
    size: int
    touched: float
    identity: tuple[int, int, int, int]


def contents(out: Path) -> tuple[list[File], list[str]]:
    """All that lies in a run's folder, by place, and a sentence for every folder that cannot be read.

    Raises:
        MergebenchError: there is no such folder.
    """
    if not out.is_dir():
        raise MergebenchError(f"no such folder: {out}; name the folder of a run, --out FOLDER")
    told: list[str] = []
    return sorted(_walk(out, told)), told


def _walk(out: Path, told: list[str]) -> Iterator[File]:
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(out.joinpath(*folder)))
        except OSError as error:
            told.append(f"{'/'.join(folder) or out}: {error.strerror}")
            continue
        for entry in entries:
            parts = (*folder, entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(parts)
                    continue
                facts = entry.stat(follow_symlinks=False)
            except OSError:  # it has gone meanwhile
                continue
            kind = LINK if entry.is_symlink() else kind_of(parts) if S_ISREG(facts.st_mode) else UNKNOWN
            yield File("/".join(parts), kind, facts.st_size, max(facts.st_mtime, facts.st_ctime), identity(facts))


def identity(facts: os.stat_result) -> tuple[int, int, int, int]:
    """What tells a file from another that takes its place."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def kind_of(parts: tuple[str, ...]) -> str:
    """The kind of a file by the names on the way to it."""
    *folders, name = parts
    begun = BEGUN.fullmatch(name)
    if begun and (begun[1] == PROBE or kind_of((*folders, begun[1])) != UNKNOWN):
        return TEMPORARY if folders and folders[0] in PLACES or not folders else UNKNOWN
    if not folders:
        return ARCHIVE if name in (MANIFEST, README) else PAGES if name == EARLIER else UNKNOWN
    if folders == ["tuning"]:  # the curves of the best after so many trials
        return PAGES if os.path.splitext(name)[1] in (".csv", ".svg") else UNKNOWN
    depth, endings, kind = PLACES.get(folders[0], (None, (), UNKNOWN))
    if depth is not None and depth != len(folders) - 1:
        return UNKNOWN
    if kind == RESULT and CELL.fullmatch(name):
        return PREDICTIONS
    return kind if os.path.splitext(name)[1] in endings else UNKNOWN
