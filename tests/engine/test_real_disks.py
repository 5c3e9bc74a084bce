"""Disks that are full, or may only be read, or allow small files alone: real ones, where we may mount them."""

import os
import re
import resource
import subprocess
from pathlib import Path

import faults
import pytest
from pieces import MADE_WHEN_ASKED, PIECES, old_ones_lost

from mergebench.errors import MergebenchError
from mergebench.running.leases import Leases


@pytest.fixture(autouse=True)
def _cache(monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", os.environ["MERGEBENCH_CACHE"])  # put back after each


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system in memory; gives its folder."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*options):
        done = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
        return folder

    try:
        mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    yield folder, mount
    subprocess.run(["umount", "-l", folder], check=True)


def refused(piece, folder):
    """The line that is told where a piece of work cannot be done."""
    with pytest.raises(MergebenchError) as caught:
        piece.work(folder)
    told = str(caught.value)
    assert re.match(r"cannot write \S+.*: .*; ", told) and str(folder) in told and "\n" not in told
    return told


def undone(name, folder):
    """Nothing was lost, and no half is read."""
    assert not old_ones_lost(folder)
    if name not in MADE_WHEN_ASKED:
        PIECES[name].found(folder)


@pytest.mark.parametrize("name", PIECES)
def test_a_disk_that_is_full_is_told_and_the_work_can_be_done_when_there_is_room(name, mounted):
    folder, _ = mounted
    piece = PIECES[name]
    piece.before(folder)
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    if name == "a result set aside":  # which needs room for a folder alone
        piece.work(folder)
    else:
        told = refused(piece, folder)
        assert "make room" in told
    undone(name, folder)
    ballast.unlink()
    piece.work(folder)
    assert piece.found(folder)


@pytest.mark.parametrize("name", PIECES)
def test_a_disk_that_may_only_be_read_is_told(name, mounted):
    folder, mount = mounted
    piece = PIECES[name]
    piece.before(folder)
    mount("-o", "remount,ro")
    assert "choose a folder you may write to" in refused(piece, folder)
    undone(name, folder)
    with pytest.raises(MergebenchError, match="cannot claim 'a' in .*: Read-only file system; choose a folder"):
        Leases(folder / "leases").claim("a")
    mount("-o", "remount,rw")
    piece.work(folder)
    assert piece.found(folder)


@pytest.mark.parametrize("limit", [0, 60, 600])
@pytest.mark.parametrize("name", sorted(set(PIECES) - {"a result set aside"}))
def test_where_only_small_files_are_allowed_it_is_told(name, limit):
    piece, limits = PIECES[name], resource.getrlimit(resource.RLIMIT_FSIZE)
    with faults.in_memory() as folder:
        piece.before(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            told = ""
            try:
                piece.work(folder)
            except MergebenchError as error:
                told = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert told or limit
        assert not told or re.match(r"cannot write \S+.*: .*; ", told), told
        undone(name, folder)
        piece.work(folder)
        assert piece.found(folder)


def test_nothing_is_left_of_what_did_not_fit(mounted):
    folder, _ = mounted
    with pytest.raises(MergebenchError, match="make room"):
        PIECES["a merged model"].work(_filled(folder))
    assert [path.name for path in folder.iterdir()] == ["ballast"]


def _filled(folder: Path) -> Path:
    with (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return folder
