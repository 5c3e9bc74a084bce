"""Removing from a run's folder what no longer counts: nothing that is not known, at work, or another file by now."""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from mergebench.running import contents as folder
from mergebench.running.audit import YOUNG, Audit
from mergebench.running.contents import File, identity

# What there is to remove, in the order in which it goes.
SUPERSEDED, ORPHANS = "superseded results, with predictions", "predictions without a result"
ASIDE, ABANDONED, LAPSED = "files that were set aside", "files of processes that were killed", "leases that have lapsed"
KINDS = (SUPERSEDED, ORPHANS, ASIDE, ABANDONED, LAPSED)


@dataclass
class Removal:
    """What can go from a folder.

    Args:
        files: kind -> files, in the order in which they go.
        kept: why something stays that would go otherwise, a sentence each.
    """

    files: dict[str, list[File]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def removable(audit: Audit, keep: Collection[str] = (), failures: bool = False) -> Removal:
    """What of a folder nobody needs.

    Of superseded results the one goes first that was asked for longest ago, its predictions behind it: if only some
    go, those that are left are the newer ones, and none lacks its predictions. Results of failed cells stay, as what
    they tell stands nowhere else. While somebody holds a lease, a run may be about to take up any result: all stay.

    Args:
        audit: of the folder.
        keep: kinds of `KINDS` that are to stay.
        failures: whether superseded results of failed cells go, too.
    """
    found, by_place, now = Removal(), {file.place: file for file in audit.files}, time.time()
    superseded = audit.superseded
    if not failures:
        superseded = [place for place in superseded if audit.results[place].status == "ok"]
        failed = len(audit.superseded) - len(superseded)
        if failed and SUPERSEDED not in keep:
            found.kept.append(f"{failed} superseded results of failed cells stay, for what they tell; --failures")
    pairs = [(place, f"{place.removesuffix('.json')}.npz") for place in superseded]
    places = {
        SUPERSEDED: [place for pair in pairs for place in pair if place in by_place],
        ORPHANS: audit.orphans,
        ASIDE: [file.place for file in audit.of(folder.SET_ASIDE)],
        ABANDONED: audit.abandoned,
        LAPSED: audit.lapsed,
    }
    for kind in KINDS:
        there = [by_place[place] for place in places[kind]]
        files = [file for file in there if kind == LAPSED or now - file.touched >= YOUNG]
        young = len(places[kind]) - len(files)
        if kind in keep or not places[kind]:
            continue
        if kind in (SUPERSEDED, ORPHANS) and audit.held:
            found.kept.append(f"{kind} stay: a run is at work here ({len(audit.held)} leases are held)")
            continue
        if young:
            found.kept.append(f"{young} {kind} stay: they were written less than {YOUNG:.0f} s ago")
        found.files[kind] = files
    return found


def remove(audit: Audit, files: Sequence[File]) -> tuple[int, int, list[str]]:
    """Remove files, in their order, each only if it is still the one that was looked at; through no link.

    Args:
        audit: of the folder.
        files: of it.

    Returns:
        How many are gone, their bytes, and a sentence for every one that is not.
    """
    gone = size = 0
    told: list[str] = []
    for file in files:
        try:
            _remove(audit, file)
        except FileNotFoundError:  # somebody else was quicker
            continue
        except OSError as error:
            told.append(f"{file.place} is not removed: {error.strerror or error}")
            continue
        gone, size = gone + 1, size + file.size
    return gone, size, told


def _remove(audit: Audit, file: File) -> None:
    """Go down to a file's folder step by step, as a name on the way may have become a link meanwhile."""
    *folders, name = file.place.split("/")
    handle = os.open(audit.out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        if identity(os.stat(name, dir_fd=handle, follow_symlinks=False)) != file.identity:
            raise OSError("it has changed since it was looked at")
        os.unlink(name, dir_fd=handle)
    finally:
        os.close(handle)
