"""Packing what a run's boards show for others: one archive, the same bytes for the same results, with a manifest."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from mergebench.configuration import names_a_file
from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.measuring.results import Result
from mergebench.running import contents as folder
from mergebench.running.audit import Audit
from mergebench.running.chosen import read_settings
from mergebench.running.contents import File, identity
from mergebench.running.homes import Homes
from mergebench.running.manifest import Listed, Manifest, listed
from mergebench.weights.sealed import checksum
from mergebench.weights.writing import check_writable, writing

ENDINGS = (".zip", ".tar.gz", ".tgz")
WHEN = (1980, 1, 1, 0, 0, 0)  # the time of every file in an archive; a zip knows none before
MODE = 0o644


@dataclass
class Package:
    """What goes into an archive.

    Args:
        audit: of the folder that it is taken from.
        results: place -> result, as it is packed.
        files: place -> the file as it lies there, of what is packed as it is.
        texts: place -> what is packed in the place of a file, or without there being one.
        rewritten: places of files in which names of home folders were replaced.
    """

    audit: Audit
    results: dict[str, Result] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)

    def content(self, place: str) -> bytes:
        """What is packed under a name.

        Raises:
            MergebenchError: the file has changed since the folder was looked through.
        """
        if place in self.texts:
            return self.texts[place]
        return _content(self.audit.out, self.files[place])


def check_target(target: Path) -> None:
    """Refuses, as a MergebenchError, an archive that could not be written, or whose name says no format."""
    if not target.name.endswith(ENDINGS):
        raise MergebenchError(f"{target}: an archive's name ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    check_writable(target)


def choose(audit: Audit, only: Collection[str] = (), homes: Homes | None = None) -> Package:
    """Take what boards show, with predictions, and the settings and records of searches that belong to it.

    Names of home folders are taken out of all texts, tracebacks and settings that are paths among them. Where that
    changes a result or a record, its own checksum is made anew, over what it then says; the key of its cell stays.

    Args:
        audit: of the folder.
        only: suites and studies; all, if none is named.
        homes: knows the names of home folders.

    Raises:
        UnknownNameError: there are no results of a suite or study that is named.
        MergebenchError: there are no results, or files that are no longer what was looked at.
    """
    hidden = set(audit.superseded)
    results = {place: result for place, result in audit.results.items() if place not in hidden}
    there = {r.study or r.suite for r in results.values()}
    for name in only:
        if name not in there:
            raise UnknownNameError(f"suite or study in {audit.out}:", name, there)
    results = {p: r for p, r in results.items() if not only or (r.study or r.suite) in only}
    if not results:
        raise MergebenchError(f"no results in {audit.out}; make some: mergebench run --methods all --out {audit.out}")
    found = Package(audit, results)
    by_place = {file.place: file for file in audit.files}
    predictions = [f"{place.removesuffix('.json')}.npz" for place in results]
    found.files = {p: by_place[p] for p in [*results, *predictions] if p in by_place}
    found.files |= {file.place: file for file in _beside(audit, results)}
    odd = next((p for p in found.files if not all(map(names_a_file, p.split("/")))), None)
    if odd is not None:
        raise MergebenchError(f"{audit.out / odd}: nobody else can be expected to have files of such names; rename it")
    _without_homes(found, homes or Homes())
    return found


def _beside(audit: Audit, results: dict[str, Result]) -> Iterator[File]:
    """The records of searches and the settings that belong to some results, as far as they are well."""
    folders = {place.split("/")[1] for place in results}
    suites = {(result.suite, result.zoo) for result in results.values()}
    for file in audit.of(folder.TRIALS):
        if file.place not in audit.faults and file.place.split("/")[1] in folders:
            yield file
    for file in audit.of(folder.SETTINGS):
        if file.place not in audit.faults:
            settings = read_settings(audit.out / file.place)
            if (settings.suite, settings.zoo) in suites:
                yield file


def _without_homes(package: Package, homes: Homes) -> None:
    found = {}
    for place, file in package.files.items():
        if not place.endswith(".npz"):
            text = _content(package.audit.out, file).decode()
            content = json.loads(text) if place.endswith(".json") else text
            if homes.look(content):
                found[place] = content
    for place, content in found.items():
        plain = homes.without(content)
        if isinstance(plain, dict):
            if plain.get("checksum"):
                plain["checksum"] = checksum(plain)
            package.texts[place] = (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode()
        else:
            package.texts[place] = plain.encode()
        package.rewritten.append(place)
        if place in package.results:
            package.results[place] = package.results[place].retold(plain)
    package.rewritten.sort()


def _content(out: Path, file: File) -> bytes:
    try:
        with (out / file.place).open("rb") as opened:
            if identity(os.fstat(opened.fileno())) == file.identity:
                return opened.read()
    except OSError as error:
        raise MergebenchError(f"{out / file.place}: {error.strerror}; pack it again") from None
    raise MergebenchError(f"{out / file.place} changed while it was packed; pack it again once nothing is written")


def pack(package: Package, target: Path, readme: Callable[[Sequence[Result]], str]) -> tuple[str, Manifest]:
    """Write an archive.

    All of it lies in one folder, which is called after its content, so that unpacking it meets no other's files.

    Args:
        package: what.
        target: where to; it appears whole.
        readme: makes the text that stands first, of the results as they are packed.

    Returns:
        The name of that folder, and the manifest.

    Raises:
        MergebenchError: the place cannot be written, or a file has changed since the folder was looked through.
    """
    check_target(target)
    results = [package.results[place] for place in sorted(package.results)]
    package.texts[folder.README] = readme(results).encode()
    manifest = Manifest(
        mergebench=version("mergebench"),
        results=len(results),
        failed=sum(r.status == "failed" for r in results),
        suites=dict(sorted(Counter(r.study or r.suite for r in results).items())),
        rewritten=package.rewritten,
        files={place: listed(package.content(place)) for place in sorted({*package.files, *package.texts})},
    )
    text = (manifest.model_dump_json(indent=1) + "\n").encode()
    name = f"mergebench-{hashlib.sha256(text).hexdigest()[:12]}"
    with writing(target) as temporary:
        add = _zip if target.suffix == ".zip" else _tar
        add(temporary, name, _entries(package, manifest.files, text))
    return name, manifest


def _entries(package: Package, files: dict[str, Listed], manifest: bytes) -> Iterator[tuple[str, bytes]]:
    yield folder.MANIFEST, manifest
    for place, wanted in files.items():
        content = package.content(place)
        if listed(content) != wanted:
            raise MergebenchError(f"{place} changed while it was packed; pack it again once nothing is written")
        yield place, content


def _zip(path: Path, name: str, entries: Iterator[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for place, content in entries:
            facts = zipfile.ZipInfo(f"{name}/{place}", WHEN)
            facts.external_attr, facts.create_system = (0o100000 | MODE) << 16, 3
            packed = zipfile.ZIP_STORED if place.endswith(".npz") else zipfile.ZIP_DEFLATED  # the others are packed
            archive.writestr(facts, content, packed, 6)


def _tar(path: Path, name: str, entries: Iterator[tuple[str, bytes]]) -> None:
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for place, content in entries:
            facts = tarfile.TarInfo(f"{name}/{place}")
            facts.size, facts.mode = len(content), MODE
            archive.addfile(facts, io.BytesIO(content))
