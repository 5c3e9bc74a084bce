"""Looking through a run's folder: what counts, what is not well and why, what nobody needs, what it takes."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergebench.errors import MergebenchError, in_words
from mergebench.measuring.proof import Unproven
from mergebench.measuring.recounts import Recounts
from mergebench.measuring.results import Result, read_results
from mergebench.running import contents as folder
from mergebench.running.chosen import read_settings
from mergebench.running.contents import File, contents
from mergebench.running.holders import is_no_more
from mergebench.running.manifest import differing, read_manifest

YOUNG = 60.0  # seconds in which a file may be of a run that is at work
TTL = 120.0  # seconds after which a lease has lapsed that does not say it
PACKED = (folder.RESULT, folder.PREDICTIONS, folder.TRIALS, folder.SETTINGS)  # what a manifest lists, beside README


@dataclass
class Audit:
    """What there is in a run's folder.

    Args:
        out: the folder.
        files: all of them.
        results: place -> result, of those that are well.
        superseded: places of results that no board shows, the one asked for longest ago first.
        faults: place -> why it is not well.
        orphans: places of predictions without a result.
        abandoned: places of temporary files that nobody writes to any more.
        held, lapsed: places of leases.
        unread: a sentence for every folder that cannot be read.
        archive: whether a manifest lies in it.
    """

    out: Path
    files: list[File]
    results: dict[str, Result] = field(default_factory=dict)
    superseded: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    lapsed: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    archive: bool = False

    @property
    def well(self) -> bool:
        """Whether nothing in it is damaged, missing or hidden."""
        return not (self.faults or self.orphans or self.unread)

    @property
    def counts(self) -> dict[str, int]:
        """How many results there are of each sort; what failed or is superseded is well, too."""
        found = self.results.values()
        broken = [place for place in self.faults if folder.kind_of(tuple(place.split("/"))) == folder.RESULT]
        return {
            "well": len(self.results),
            "proven": sum(r.proven for r in found),
            "from before there was proof": sum(not r.proven for r in found),
            "failed": sum(r.status == "failed" for r in found),
            "superseded": len(self.superseded),
            "not well": len(broken),
        }

    def of(self, kind: str) -> list[File]:
        """The files of one kind."""
        return [file for file in self.files if file.kind == kind]

    def sizes(self) -> dict[str, tuple[int, int]]:
        """kind -> how many files there are, and their bytes together."""
        numbers, sizes = Counter[str](), Counter[str]()
        for file in self.files:
            numbers[file.kind] += 1
            sizes[file.kind] += file.size
        return {kind: (number, sizes[kind]) for kind, number in numbers.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it for machines."""
        names = ("superseded", "faults", "orphans", "abandoned", "held", "lapsed", "unread", "archive")
        sizes = {kind: {"files": number, "bytes": size} for kind, (number, size) in self.sizes().items()}
        others = {kind: [f.place for f in self.of(kind)] for kind in (folder.SET_ASIDE, folder.LINK, folder.UNKNOWN)}
        told = {"folder": str(self.out), "well": self.well, "results": self.counts, "sizes": sizes}
        return told | {name: getattr(self, name) for name in names} | others


def audit(
    out: Path,
    shown: Callable[[Sequence[Result]], Iterable[Result]],
    check_trials: Callable[[Path], object],
    counts: Path | None = None,
) -> Audit:
    """Look through a run's folder; nothing in it is changed.

    Args:
        out: the folder.
        shown: of all results those that a board shows.
        check_trials: reads a file of trials; raises `Unproven`.
        counts: where what follows from predictions is kept.

    Raises:
        MergebenchError: there is no such folder.
    """
    files, unread = contents(out)
    found = Audit(out, files, unread=unread)
    now = time.time()
    places = {str(out / file.place): file.place for file in found.of(folder.RESULT)}
    for path, result in read_results(list(map(Path, places)), Recounts(counts)):
        if isinstance(result, Unproven):
            found.faults[places[str(path)]] = str(result)
        else:
            found.results[places[str(path)]] = result
    there = {id(result) for result in shown(list(found.results.values()))}
    hidden = [place for place, result in found.results.items() if id(result) not in there]
    found.superseded = sorted(hidden, key=lambda place: found.results[place].last_asked)
    known = {file.place for file in files}
    for file in found.of(folder.PREDICTIONS):
        if f"{file.place.removesuffix('.npz')}.json" not in known and not _young(file, now):
            found.orphans.append(file.place)
    found.abandoned = [file.place for file in found.of(folder.TEMPORARY) if not _young(file, now)]
    for file in found.of(folder.LEASE):
        (found.lapsed if _lapsed(out, file, now) else found.held).append(file.place)
    _check(found, folder.TRIALS, check_trials)
    _check(found, folder.SETTINGS, read_settings)
    manifest = next((f for f in files if f.place == folder.MANIFEST and f.kind == folder.ARCHIVE), None)
    if manifest:
        found.archive = True
        try:
            sizes = {f.place: f.size for f in files if f.kind in PACKED or f.place == folder.README}
            found.faults |= differing(read_manifest(out), out, sizes)
        except MergebenchError as error:
            found.faults[manifest.place] = str(error).removeprefix(f"{out / manifest.place}: ")
    return found


def _young(file: File, now: float) -> bool:
    return now - file.touched < YOUNG


def _lapsed(out: Path, file: File, now: float) -> bool:
    """Whether whose lease it is has ended, or did not renew it for as long as it says, and a minute: clocks differ."""
    told = None
    try:
        with (out / file.place).open(encoding="utf-8") as lease:
            told = json.loads(lease.read(10_000))
        ttl = float(told["ttl"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        ttl = TTL
    if is_no_more(told):
        return True
    renewed = file.identity[-1] / 1e9
    return not now - renewed < max(ttl, 0.0) + YOUNG  # one that says NaN has lapsed


def _check(found: Audit, kind: str, check: Callable[[Path], object]) -> None:
    for file in found.of(kind):
        path = found.out / file.place
        try:
            check(path)
        except (MergebenchError, OSError) as error:
            found.faults[file.place] = in_words(error).removeprefix(f"{path}: ")
