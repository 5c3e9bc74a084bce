"""What something was made from is noted, and any change of it shows."""

import json
import os

import pytest

from mergebench.weights.footing import COARSE, Footing, mark, noting, rests_elsewhere, rests_on, still_there


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_text("before")
    return path


def rewritten(path):
    path.write_text("behind")


def replaced(path):
    other = path.parent.parent / "other"
    other.write_text("behind")
    os.replace(other, path)


def rewritten_and_set_back(path):
    times = path.stat()
    path.write_text("behind")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


CHANGES = {
    "in place": rewritten,
    "replaced": replaced,
    "as old as before": rewritten_and_set_back,
    "gone": lambda path: path.unlink(),
    "another beside it": lambda path: (path.parent / "config.json").write_text("{}"),
    "its folder gone": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_no_change_goes_unseen_though_name_and_size_stay(file, change):
    footing = Footing()
    footing.add(file)
    marks = json.loads(json.dumps(footing.marks))
    assert not footing.elsewhere and still_there(marks)
    change(file)
    assert not still_there(marks)


def test_what_only_comes_and_goes_beside_a_file_is_no_change(file):
    footing = Footing()
    footing.add(file)
    (file.parent / ".temporary").write_text("x")
    (file.parent / "__pycache__").mkdir()
    (file.parent / "runs" / "cells").mkdir(parents=True)
    assert still_there(footing.marks)


def test_what_is_alone_has_no_neighbours(file):
    footing = Footing()
    footing.add(file, alone=True)
    CHANGES["another beside it"](file)
    assert still_there(footing.marks)
    rewritten(file)
    assert not still_there(footing.marks)


def test_a_file_that_was_not_there_is_a_change_when_it_is(tmp_path):
    footing = Footing()
    footing.add(tmp_path / "joint", alone=True)
    assert footing.marks == {str(tmp_path / "joint"): None}
    (tmp_path / "joint").mkdir()
    assert not still_there(footing.marks)


def test_a_change_while_it_is_noted_is_told(file):
    with noting() as footing:
        rests_on(file)
        rewritten(file)
        rests_on(file)
    assert "changed meanwhile" in footing.elsewhere


def test_a_file_whose_times_cannot_tell_two_changes_apart_is_not_vouched_for(file, monkeypatch):
    """As on a file system that counts whole seconds: what is younger than its clock may change unseen."""
    monkeypatch.setattr("mergebench.weights.footing.TICK", COARSE)
    monkeypatch.setattr("mergebench.weights.footing.time.sleep", lambda _: None)
    footing = Footing()
    footing.add(file)
    assert "too young" in footing.elsewhere


def test_outside_of_noting_nothing_is_noted(file):
    rests_on(file)
    rests_elsewhere("the hub")
    with noting() as footing:
        pass
    rests_on(file)
    assert not footing.marks and not footing.elsewhere
    with noting() as footing:
        rests_elsewhere("the hub")
    assert footing.elsewhere == "the hub"


@pytest.mark.parametrize("name", ["a", "package/__init__.py", "release-1.0.dist-info/METADATA"])
def test_a_folder_is_marked_by_what_might_be_read_of_it(tmp_path, name):
    empty = mark(str(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    assert mark(str(tmp_path)) != empty
    (tmp_path / name).unlink()
    if (tmp_path / name).parent != tmp_path:
        (tmp_path / name).parent.rmdir()
    assert mark(str(tmp_path)) == empty
