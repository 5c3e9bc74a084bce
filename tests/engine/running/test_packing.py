"""What is packed: what boards show and what belongs to it, the same bytes again, held to a manifest, nobody's home."""

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from run_folder import RunFolder, predictions_of

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import make_boards
from mergebench.measuring.results import ResultStore
from mergebench.running import contents as kinds
from mergebench.running import packing
from mergebench.running.homes import Homes
from mergebench.running.packing import choose, pack

HOME = Path("/srv/people/ann")


@pytest.fixture
def full(folder):
    """A folder with what is packed, and with what is not; gives the places of the former."""
    folder.put("mine", source="old")
    kept = [folder.put("mine", hyperparameters={"start": "/srv/people/ann/a.py"}), folder.put("other")]
    told = {"error": "no /srv/people/ann", "traceback": 'File "/srv/people/ann/b.py"'}
    kept.append(folder.put("broken", status="failed", merge=None, evaluation=None, **told))
    kept += [*map(predictions_of, kept[:2]), folder.trials(fixed={"path": "/srv/people/ann/c"}), folder.settings()]
    folder.put("elsewhere", suite="three")
    folder.trials(suite="three")
    folder.settings("three-z.yaml", suite="three")
    folder.file("cells/two/garbage.json", "{")
    folder.file("set-aside/two/mine.json")
    folder.file("notes.txt")
    return kept


@pytest.fixture
def packed(folder, tmp_path):
    """Packs the suite `two`; gives the unpacked folder, the manifest and the archive."""

    def make(name="two.zip", only=("two",)):
        target = tmp_path / name
        top, manifest = pack(choose(folder.look(), only, Homes(HOME)), target, lambda results: f"{len(results)}\n")
        with zipfile.ZipFile(target) if name.endswith("zip") else tarfile.open(target) as archive:
            archive.extractall(tmp_path / "unpacked")
        return RunFolder(tmp_path / "unpacked" / top), manifest, target

    return make


@pytest.mark.parametrize("name", ["two.zip", "two.tar.gz", "two.tgz"])
def test_what_boards_show_is_packed_and_is_well_where_it_is_unpacked(folder, full, packed, name):
    there, manifest, _ = packed(name)
    assert there.there() == {*full, kinds.MANIFEST, kinds.README}
    assert (there.out / kinds.README).read_text() == "3\n"
    assert (manifest.results, manifest.failed, manifest.suites) == (3, 1, {"two": 3})
    found = there.look()
    assert found.archive and found.well and not found.superseded
    unchanged = set(full) - set(manifest.rewritten)
    assert all((there.out / place).read_bytes() == (folder.out / place).read_bytes() for place in unchanged)


def test_boards_are_the_same(folder, packed):
    folder.put("mine", source="old")
    for seed in range(3):
        folder.put("mine", seed=seed)
        folder.put("other", seed=seed, correct=seed)
    there, *_ = packed()
    one, other = (make_boards(ResultStore(out).all()) for out in (folder.out, there.out))
    assert one == other and len(one[0].rows) == 2
    assert [row.outcomes is None for row in other[0].rows] == [False, False]


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
def test_the_same_results_are_the_same_bytes_whatever_it_is_called_and_whenever(folder, full, packed, ending):
    _, _, one = packed(f"one.{ending}")
    for place in folder.there():
        os.utime(folder.out / place, (10**9, 10**9))
    _, _, other = packed(f"other.{ending}")
    assert one.read_bytes() == other.read_bytes()


def test_nobodys_home_is_in_it_and_what_was_rewritten_proves_what_it_says_now(folder, full, packed):
    there, manifest, _ = packed()
    assert not any(b"/srv/people" in (there.out / place).read_bytes() for place in there.there())
    assert manifest.rewritten == sorted([full[0], full[2], full[5]])
    found = there.look()
    assert found.results[full[0]].hyperparameters == {"start": "~/a.py"}
    assert found.results[full[2]].traceback == 'File "~/b.py"'
    assert all(result.proven for result in found.results.values())
    before = folder.look().results
    assert all(found.results[place].cell == before[place].cell for place in full[:3])
    assert all(found.results[place].checksum != before[place].checksum for place in (full[0], full[2]))


def test_a_result_without_a_checksum_is_given_none(folder, packed):
    place = folder.put("mine", hyperparameters={"start": "/srv/people/ann/a.py"})
    path = folder.out / place
    content = json.loads(path.read_text())
    del content["checksum"], content["cell"]
    path.write_text(json.dumps(content))
    there, *_ = packed()
    assert [r.proven for r in there.look().results.values()] == [False]


CHANGES = {
    "changed": lambda out, place: (out / place).write_bytes(b"x" * (out / place).stat().st_size),
    "longer": lambda out, place: (out / place).write_bytes((out / place).read_bytes() + b" "),
    "gone": lambda out, place: (out / place).unlink(),
    "a link": lambda out, place: ((out / place).rename(out / "moved"), (out / place).symlink_to(out / "moved")),
    "another beside it": lambda out, place: RunFolder(out).put("more"),
    "no manifest": lambda out, place: (out / kinds.MANIFEST).write_text("{}"),
    "a manifest of paths": lambda out, place: (out / kinds.MANIFEST).write_text(
        (out / kinds.MANIFEST).read_text().replace(place, "../../../etc/passwd")
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_unpacked_folder_is_held_to_its_manifest(full, packed, change):
    there, *_ = packed()
    CHANGES[change](there.out, full[6])
    found = there.look()
    assert not found.well
    assert all("\n" not in reason for reason in found.faults.values())


def test_what_there_is_not_is_refused(folder, tmp_path):
    (folder.out / "cells").mkdir(parents=True)
    with pytest.raises(MergebenchError, match="no results"):
        choose(folder.look())
    folder.put()
    with pytest.raises(MergebenchError, match="unknown suite or study .*'tow'; did you mean 'two'"):
        choose(folder.look(), ["tow"])
    with pytest.raises(MergebenchError, match=r"two.rar: an archive's name ends in \.zip, \.tar\.gz or \.tgz"):
        pack(choose(folder.look()), tmp_path / "two.rar", len)
    assert not (tmp_path / "two.rar").exists()


def test_a_name_that_others_cannot_have_is_refused(folder):
    path = folder.out / folder.put()
    path.parent.rename(path.parent.with_name("two\x1b[31m"))
    with pytest.raises(MergebenchError, match="rename it"):
        choose(folder.look())


def test_a_file_that_changes_meanwhile_ends_it_and_leaves_no_archive(folder, tmp_path):
    place = folder.put()
    package = choose(folder.look())
    path = folder.out / predictions_of(place)

    def readme(results):
        path.write_bytes(path.read_bytes() + b" ")
        return ""

    with pytest.raises(MergebenchError, match="changed while it was packed"):
        pack(package, tmp_path / "two.zip", readme)
    assert not (tmp_path / "two.zip").exists()


def test_a_file_that_is_gone_since_it_was_looked_at_ends_it(folder):
    place = folder.put()
    found = folder.look()
    (folder.out / place).unlink()
    with pytest.raises(MergebenchError, match=rf"{place}: No such file or directory; pack it again"):
        choose(found)


@pytest.mark.parametrize("name", ["two.zip", "two.tar.gz"])
def test_what_changes_under_the_same_size_and_time_does_too(folder, tmp_path, monkeypatch, name):
    """Between being listed in the manifest and being packed, which are a moment apart."""
    path = folder.out / predictions_of(folder.put())
    package = choose(folder.look())
    writing = packing.writing

    def meanwhile(target):
        then = path.stat().st_mtime_ns
        path.write_bytes(b"x" * path.stat().st_size)
        os.utime(path, ns=(then, then))
        return writing(target)

    monkeypatch.setattr(packing, "writing", meanwhile)
    with pytest.raises(MergebenchError, match=rf"{path.name} changed while it was packed; pack it again once nothing"):
        pack(package, tmp_path / name, lambda results: "")
    assert not (tmp_path / name).exists()
