"""`mergebench runs`: what it says, its status, and that nothing goes that was not asked for."""

import json
import os
import zipfile

import pytest
from run_folder import RunFolder, predictions_of

from mergebench.running import audit, removal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run's folder in the working folder, as verbs find it without being told."""
    monkeypatch.chdir(tmp_path)
    return RunFolder(tmp_path / "runs")


@pytest.fixture
def untidy(folder, monkeypatch):
    """A result that counts and one that does not, everything old enough; gives their places."""
    monkeypatch.setattr(audit, "YOUNG", 0.0)
    monkeypatch.setattr(removal, "YOUNG", 0.0)
    old = folder.put("mine", source="old")
    return folder.put("mine"), old


def test_check_tells_all_on_one_screen_and_ends_well(folder, untidy, command):
    folder.lease()
    folder.file("notes\x1b[31m.txt")
    done = command("runs", "check")
    assert done.status == 0 and not done.err
    assert "results: 2 well, 2 proven, 1 superseded" in done.out
    assert "left over: 1 superseded; mergebench runs gc" in done.out
    assert "at work here: 1 leases are held" in done.out and "all is well" in done.out
    assert "\x1b" not in done.out and len(done.out.splitlines()) < 24


def test_an_archive_does_not_take_a_folder_s_place(folder, refused, tmp_path):
    folder.put()
    (tmp_path / "mine.zip").mkdir()
    assert "cannot write mine.zip: it is a folder; name a file in it" in refused("runs", "export", "mine.zip")


def test_check_ends_with_1_and_names_what_is_not_well(folder, command, tmp_path):
    for number in range(30):
        folder.file(f"cells/two/{number:02}.json", "{")
    done = command("runs", "check", "--json", tmp_path / "found.json")
    assert done.status == 1
    assert "not well: 30" in done.out and "and 22 more" in done.out and "not all is well" in done.out
    assert len(done.out.splitlines()) < 24
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["well"] is False and len(found["faults"]) == 30 and found["results"]["not well"] == 30


def test_gc_removes_nothing_without_yes(folder, untidy, command):
    kept, old = untidy
    before = folder.there()
    done = command("runs", "gc")
    assert done.status == 0 and folder.there() == before
    assert "would remove: superseded results, with predictions: 2 files" in done.out and old in done.out
    assert "nothing is removed yet: --yes removes these 2 files" in done.out
    done = command("runs", "gc", "--yes")
    assert done.status == 0 and folder.there() == {kept, predictions_of(kept)}
    assert "removed 2 files" in done.out
    assert "nothing to remove in runs" in command("runs", "gc", "--yes").out


def test_gc_keeps_what_it_is_told_to_keep(folder, untidy, command):
    before = folder.there()
    assert "nothing to remove" in command("runs", "gc", "--yes", "--keep", "superseded", "leases").out
    assert folder.there() == before


def test_gc_ends_with_1_where_something_cannot_be_removed(folder, untidy, command, monkeypatch):
    def unlink(name, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "unlink", unlink)
    done = command("runs", "gc", "--yes")
    assert done.status == 1 and not done.err
    assert f"{untidy[1]} is not removed: Read-only file system" in done.out
    assert "not removed: 2 of 2 files" in done.out


def test_export_says_where_it_unpacks_and_its_boards_are_the_same(folder, untidy, command, tmp_path):
    folder.put("other")
    done = command("runs", "export", "two.zip")
    assert done.status == 0 and "2 results of two" in done.out
    with zipfile.ZipFile("two.zip") as archive:
        archive.extractall()
    top = done.out.split()[-1]
    text = (tmp_path / top / "README.md").read_text()
    assert "| Mine |" in text and "| Other |" in text and "mergebench runs check --out ." in text
    assert command("runs", "check", "--out", top).status == 0
    one, other = (command("table", "--out", out).out for out in ("runs", top))
    assert one == other and "Mine" in one


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "x.zip"], "only export takes a file"),
        (["export"], "name the archive"),
        (["export", "x.rar"], "an archive's name ends in"),
        (["check", "--yes"], "--yes: an option of runs gc, not of runs check"),
        (["gc", "--suite", "two"], "--suite: an option of runs export"),
        (["export", "x.zip", "--suite", "tow"], "did you mean 'two'?"),
        (["check", "--out", "none"], "no such folder: none"),
        (["clean"], "check"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, refused, arguments, told):
    folder.put()
    assert told in refused("runs", *arguments)
    assert not any(name.endswith((".zip", ".rar")) for name in os.listdir())
