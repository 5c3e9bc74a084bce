"""Stored results prove what they say: what was changed, swapped or damaged is told, kept, and no result."""

import json
import os
import zipfile

import numpy as np
import pytest

from mergebench.measuring.proof import answers, write_predictions
from mergebench.measuring.results import CellKey, Cost, Environment, Result, ResultStore

LABELS = {"a": np.array([0, 1, 2, 1]), "file": np.array([0, 1])}


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path)


@pytest.fixture
def put(store, scored):
    """Stores a method's result on two tasks; gives its key."""

    def stored(method="mine", correct=3):
        key = CellKey(method, "s", {}, {}, "two", "", "z", "", {}, 0, {}, {}, "cpu")
        outcome = scored({"a": (correct, 4), "file": (1, 2)})
        environment = Environment(
            device="cpu", precision="float32", threads=1, platform="p", packages={}, git_commit=""
        )
        empty = {"hyperparameters": {}, "weights": {}, "data": {}, "drawn": {}, "needs": [], "variant": ""}
        cost = {"merge": Cost(seconds=1, peak_bytes=1), "evaluation": Cost(seconds=1, peak_bytes=None)}
        named = {"method": method, "title": method, "paper": "", "role": "method", "family": "f", "source": "s"}
        where = {"suite": "two", "zoo": "z", "seed": 0, "environment": environment, "started": "2026"}
        result = Result(status="ok", tasks=outcome.scores, **named, **where, **cost, **empty)
        store.write(key, result, outcome.predictions, outcome.labels)
        return key

    return stored


def edited(path, change):
    """Changes the JSON of a file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def unsealed(content):
    """As an earlier version stored it."""
    for name in ("checksum", "cell", "where", "traceback"):
        del content[name]


def test_what_is_stored_is_read_again_and_proven(store, put):
    key = put()
    (result,), told = store.survey()
    assert result.proven and not told and store.finished(key) == result
    with np.load(store.path(key).with_suffix(".npz")) as beside:
        assert set(beside) == {"a", "file", "labels/a", "labels/file"}
        assert (beside["a"] == beside["labels/a"]).sum() == result.tasks["a"].correct == 3


def test_the_layout_of_the_json_is_free_and_infinities_are_kept(store, put):
    key = put()
    store.update(key, store.finished(key).model_copy(update={"diagnostics": {"condition": float("inf"), "x": 1e-300}}))
    edited(store.path(key), lambda content: None)  # another layout, the same content
    assert store.finished(key).proven


COUNTS = {
    "more than there are": lambda c: c["tasks"]["a"].update(correct=1000),
    "one more": lambda c: c["tasks"]["a"].update(correct=4),
    "the average alone": lambda c: c.update(average=1.0),
    "the experts'": lambda c: c["tasks"]["a"].update(expert_correct=1),
    "the title": lambda c: c.update(title="best"),
    "the proof of another": lambda c: c.update(checksum="0" * 16),
}


@pytest.mark.parametrize("change", COUNTS.values(), ids=COUNTS)
def test_what_is_changed_by_hand_is_no_result(store, put, change):
    key, other = put(), put("other")
    edited(store.path(key), change)
    (kept,), (told,) = store.survey()
    assert kept.method == "other" and str(store.path(key)) in told and "is set aside: it " in told
    assert store.finished(key) is None and store.finished(other)


def test_counts_are_recomputed_whatever_the_checksum_says(store, put):
    key = put()
    path = store.path(key)
    edited(path, lambda c: (c["tasks"]["a"].update(correct=4), unsealed(c)))
    assert "it says 4 correct of task 'a', its predictions 3" in store.look(key)[1]


def flipped(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["a"][0] ^= 1
    np.savez_compressed(path, **{n: a for n, a in arrays.items() if n != "file"})


SIDE = {
    "deleted": lambda path, other: path.unlink(),
    "cut short": lambda path, other: path.write_bytes(path.read_bytes()[:-30]),
    "rubbish": lambda path, other: path.write_bytes(b"x" * 500),
    "empty": lambda path, other: path.write_bytes(b""),
    "a device": lambda path, other: (path.unlink(), path.symlink_to("/dev/zero")),
    "a pipe": lambda path, other: (path.unlink(), os.mkfifo(path)),
    "flipped": lambda path, other: flipped(path),
    "another's": lambda path, other: path.write_bytes(other.read_bytes()),
    "without labels": lambda path, other: without_labels(path),
    "too large": lambda path, other: write_predictions(path, {"a": np.zeros(10**5), "file": np.zeros(2)}, LABELS),
}


def without_labels(path):
    with np.load(path) as file:
        arrays = {name: file[name] for name in ("a", "file")}
    write_predictions(path, arrays, {})


@pytest.mark.parametrize("change", SIDE.values(), ids=SIDE)
def test_predictions_that_are_not_those_that_were_counted_are_noticed(store, put, change):
    key, other = put(), put("other", correct=2)
    change(*(store.path(k).with_suffix(".npz") for k in (key, other)))
    (kept,), (told,) = store.survey()
    assert kept.method == "other" and "predictions" in told and store.finished(key) is None


def test_another_cell_s_files_under_a_cell_s_name_are_noticed(store, put):
    key, other = put(), put("other")
    for end in (".json", ".npz"):
        store.path(key).with_suffix(end).write_bytes(store.path(other).with_suffix(end).read_bytes())
    assert "another cell's result" in store.look(key)[1]
    assert [r.method for r in store.all()] == ["other"]
    edited(store.path(key), unsealed)
    assert "its method is another" in store.look(key)[1]


def test_what_was_set_aside_is_kept_when_it_is_measured_again(store, put):
    key = put()
    for turn in range(2):
        edited(store.path(key), lambda c, turn=turn: c.update(title=f"best {turn}"))
        put()
        assert store.finished(key).title == "mine"
    kept = sorted(p.name for p in (store.out / "set-aside" / "two").iterdir())
    stem = store.path(key).stem
    assert kept == sorted(f"{name}{end}" for name in (stem, f"{stem}.1") for end in (".json", ".npz"))


def test_results_from_before_are_read_as_unproven_and_stay_so(store, put):
    key = put()
    without_labels(store.path(key).with_suffix(".npz"))
    edited(store.path(key), unsealed)
    result = store.finished(key)
    assert result and not result.proven
    store.update(key, result.model_copy(update={"asked": "now"}))
    assert store.finished(key).asked == "now" and not store.finished(key).proven
    store.path(key).with_suffix(".npz").unlink()
    assert not store.finished(key).proven, "they may have been moved without their predictions"
    write_predictions(store.path(key).with_suffix(".npz"), LABELS, {})
    assert "are not those that were counted" in store.look(key)[1]


def test_which_images_are_right_is_known_from_the_one_reading(store, put):
    side = store.path(put()).with_suffix(".npz")
    (result,), _ = store.survey()
    with np.load(side) as file:
        right = {task: file[task] == file[f"labels/{task}"] for task in LABELS}
    side.unlink()
    for found in (result.hits(), result.listed(None, result.hits()).hits()):
        assert found.keys() == right.keys()
        assert all((found[task] == right[task]).all() and found[task].dtype == bool for task in right)


def test_which_images_are_right_is_not_known_without_predictions_or_labels(store, put):
    path = store.path(put())
    edited(path, unsealed)
    without_labels(path.with_suffix(".npz"))
    assert store.survey()[0][0].hits() is None
    path.with_suffix(".npz").unlink()
    (result,), _ = store.survey()
    assert not result.proven and result.hits() is None and result.listed(None).hits() is None


DAMAGED = {
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "half": b'{"schema_version": 1, "status"',
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "long number": b'{"seed": ' + b"9" * 5000 + b"}",
    "another version": b'{"schema_version": 2}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_no_damaged_file_vanishes_without_a_word(store, put, content):
    key = put("other")
    bad = store.path(key).with_name("bad-s0-0.json")
    bad.write_bytes(content)
    results, (told,) = store.survey()
    assert [r.method for r in results] == ["other"]
    assert told.startswith(f"{bad} is set aside: it is no result (") and "\n" not in told


ODD = {
    "tasks": {},
    "merge": None,
    "evaluation": None,
    "tuned": {"trials": 3},
    "point": {"a": {"b": 1}},
    "conditions": {"calibration": "x"},
    "role": "king",
    "seed": "x",
}


@pytest.mark.parametrize("name", ODD)
def test_what_no_run_writes_is_no_result(store, put, name):
    key = put()
    edited(store.path(key), lambda c: (c.update({name: ODD[name]}), unsealed(c)))
    results, (told,) = store.survey()
    assert not results and "it is no result (" in told


def test_numbers_beyond_all_bounds_are_no_result(store, put):
    key = put()
    for change in (
        lambda c: c["merge"].update(seconds=10**400),
        lambda c: c["tasks"]["a"].update(total=10**400),
        lambda c: c.update(point={"a": 10**400}),
    ):
        put()
        edited(store.path(key), lambda c, change=change: (change(c), unsealed(c)))
        assert not store.survey()[0]


def test_an_archive_that_claims_to_be_larger_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 10**7)
    with pytest.raises(Exception, match=r"of a\.npy are more than 4"):
        answers(tmp_path / "x.npz", {"a": 4})
