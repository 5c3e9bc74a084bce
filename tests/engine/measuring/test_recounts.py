"""What was counted once is not counted again, but wherever a file may be another: then it is, and told."""

import os
import time

import numpy as np
import pytest

from mergebench.measuring import recounts
from mergebench.measuring.proof import Unproven, write_predictions
from mergebench.measuring.recounts import Recounts
from mergebench.weights import footing

LABELS = {"a": np.arange(11) % 3, "b": np.arange(8) % 2}
TOTALS = {"a": 11, "b": 8}


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Two side files, old enough; gives their paths."""
    monkeypatch.setattr(recounts, "FEWEST", 1)
    paths = [tmp_path / "cells" / "two" / f"{name}.npz" for name in "xy"]
    for number, path in enumerate(paths):
        write_predictions(path, {t: (labels + (labels == number)) % 3 for t, labels in LABELS.items()}, LABELS)
    time.sleep(2 * footing.TICK)
    return paths


@pytest.fixture
def counting(monkeypatch):
    """The files that were really read."""
    real, read = recounts.answers, []

    def answers(path, totals):
        read.append(path)
        return real(path, totals)

    monkeypatch.setattr(recounts, "answers", answers)
    return read


def as_plain(found):
    return {task: (one.counts, one.right.tolist()) for task, one in found.items()}


def all_of(place, paths):
    known = Recounts(place)
    found = [as_plain(known.of(path, TOTALS)) for path in paths]
    known.keep(paths)
    return found


def test_what_was_counted_is_remembered_in_this_process_and_in_the_next(sides, tmp_path, counting):
    place = tmp_path / "cache" / "x.counts"
    first = all_of(place, sides)
    assert counting == sides
    known = Recounts(place)
    assert [as_plain(known.of(path, TOTALS)) for path in sides] == first and counting == sides
    assert first == [as_plain(Recounts().of(path, TOTALS)) for path in sides]
    hits = np.unpackbits(known.of(sides[0], TOTALS)["a"].right, count=11)
    assert hits.sum() == known.of(sides[0], TOTALS)["a"].counts.correct == 7


def rewritten(path, back=False):
    """Another content of the same size in the same place, with the old times where a program can set them."""
    facts, content = path.stat(), path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[::-1])
    if back:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


CHANGES = {
    "in its place": rewritten,
    "with its old time": lambda path: rewritten(path, back=True),
    "another file": lambda path: (path.with_name("z").write_bytes(b"x"), path.with_name("z").replace(path)),
    "gone": lambda path: path.unlink(),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_has_changed_is_found_out(sides, tmp_path, counting, change):
    place = tmp_path / "x.counts"
    before = all_of(place, sides)
    CHANGES[change](sides[0])
    known = Recounts(place)
    if change == "longer":  # archives are read from their end: what lies behind it is no part of them
        assert as_plain(known.of(sides[0], TOTALS)) == before[0]
    else:
        with pytest.raises(Unproven):
            known.of(sides[0], TOTALS)
    assert counting == [*sides, sides[0]]
    assert as_plain(known.of(sides[1], TOTALS)) == before[1] and len(counting) == 3


def test_a_file_that_is_too_young_to_tell_is_not_vouched_for(sides, tmp_path, counting, monkeypatch):
    monkeypatch.setattr(recounts, "is_young", lambda path: True)
    known = Recounts(tmp_path / "x.counts")
    for _ in range(2):
        known.of(sides[0], TOTALS)
    assert len(counting) == 2


def test_other_tasks_are_counted_anew(sides, tmp_path, counting):
    place = tmp_path / "x.counts"
    all_of(place, sides)
    assert as_plain(Recounts(place).of(sides[0], {"a": 11})).keys() == {"a"}
    assert len(counting) == 3


@pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "json", "folder"])
def test_what_was_kept_and_is_damaged_is_not_believed(sides, tmp_path, counting, damage):
    place = tmp_path / "x.counts"
    before = all_of(place, sides)
    content = bytearray(place.read_bytes())
    if damage == "folder":
        place.unlink()
        place.mkdir()
    else:
        content[-1] ^= 1
        place.write_bytes({"a bit": bytes(content), "cut": content[:-9], "empty": b"", "json": b"{}\n{}"}[damage])
    assert [as_plain(Recounts(place).of(path, TOTALS)) for path in sides] == before
    assert len(counting) == 4


def test_nothing_is_kept_of_few_files_nor_where_there_is_no_place(sides, tmp_path, monkeypatch, counting):
    monkeypatch.setattr(recounts, "FEWEST", 3)
    all_of(tmp_path / "x.counts", sides)
    all_of(None, sides)
    assert not list(tmp_path.glob("*.counts"))


def test_files_that_came_or_went_change_nothing_about_the_others(sides, tmp_path, counting):
    place = tmp_path / "x.counts"
    before = all_of(place, sides[:1])
    assert all_of(place, sides)[0] == before[0] and counting == sides
    assert all_of(place, sides[1:]) and counting == sides
    assert [as_plain(Recounts(place).of(path, TOTALS)) for path in sides][0] == before[0]
