"""A submission is refused with the field's path and the reason, whatever its author wanted."""

import hashlib
import io
import json
import os
import re
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mergebench.measuring.proof import write_predictions
from mergebench.submissions import reading, text
from mergebench.submissions.reading import read
from mergebench.submissions.text import Refused, parsed


def refusal(path) -> str:
    with pytest.raises(Refused) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_that_holds_is_read_whole(submission):
    found = read(submission.write())
    assert found.digest == hashlib.sha256(submission.path.read_bytes()).hexdigest()
    assert {name: ids.tolist() for name, ids in found.predictions.items()} == {
        name: ids.tolist() for name, ids in submission.arrays.items()
    }
    assert found.labels["digits"].tolist() == submission.labels["digits"].tolist()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("results.1.tasks.digits.correct", 31, r"results\.1\.tasks\.digits\.correct: 31 of 30 images"),
        ("results.1.tasks.digits.correct", 1, r"results\.1\.tasks\.digits\.correct: 1, but its predictions give \d+"),
        ("experts.signs.correct", 0, r"experts\.signs\.correct: 0, but its predictions give \d+"),
        ("results.0.tasks.digits.correct", -1, r"results\.0\.tasks\.digits\.correct: .*greater than or equal to 0"),
        ("results.0.tasks.digits.correct", 1.5, r"results\.0\.tasks\.digits\.correct: .*integer, not 1\.5"),
        ("results.0.tasks.digits.correct", "9", r"results\.0\.tasks\.digits\.correct: .*integer, not '9'"),
        ("results.0.tasks.digits.correct", True, r"results\.0\.tasks\.digits\.correct: .*integer, not True"),
        ("results.0.tasks.digits.predictions", "0" * 16, r"results\.0\.tasks\.digits\.predictions: 0+, but"),
        ("results.0.tasks.digits.total", 10**7, r"results\.0\.tasks\.digits\.total: .*less than or equal to 1000000"),
        ("results.1.tasks.digits.total", 40, r"results\.1\.tasks\.digits\.total: 40, the first seed's 30"),
        ("results.1.tasks.digits", ..., r"results\.1\.tasks\.digits: not a task of every seed"),
        ("results.1.seed", 0, r"results\.1\.seed: 0 stands twice"),
        ("results", [], r"results: .*at least 1 item"),
        ("results.0.merge.seconds", float("nan"), r"results\.0\.merge\.seconds: not a finite number"),
        ("results.0.merge.seconds", float("inf"), r"results\.0\.merge\.seconds: not a finite number"),
        ("results.0.merge.seconds", -1.0, r"results\.0\.merge\.seconds: .*greater than or equal to 0"),
        ("environment.threads", 2**70, rf"environment\.threads: beyond {2**53}"),
        ("method.hyperparameters.weight", 1e300, rf"method\.hyperparameters\.weight: beyond {2**53}"),
        ("method.title", "<script>alert(1)</script>", r"method\.title: holds '<', which a page may take for markup"),
        ("method.title", "red \x1b[31m", r"method\.title: holds the unseen character U\+001B"),
        ("method.title", "good \u202e live", r"method\.title: holds the unseen character U\+202E"),
        ("method.title", "in\nvisible", r"method\.title: holds the unseen character U\+000A"),
        ("method.title", "zero\u200bwidth", r"method\.title: holds the unseen character U\+200B"),
        ("method.title", "\ud800", r"method\.title: holds the unseen character U\+D800"),
        ("method.title", "x" * 81, r"method\.title: .*at most 80 characters"),
        ("submitter.author", "=HYPERLINK(1)", r"submitter\.author: begins with '=', which a spreadsheet"),
        ("submitter.author", " ＠sum", r"submitter\.author: begins with '＠', which a spreadsheet"),
        ("method.name", "../../etc/passwd", r"method\.name: .*pattern"),
        ("method.name", "/etc/passwd", r"method\.name: .*pattern"),
        ("method.name", "a..b", r"method\.name: .*pattern"),
        ("benchmark.suite", "evil/../x", r"benchmark\.suite: .*pattern"),
        ("benchmark.zoo", ".hidden", r"benchmark\.zoo: .*pattern"),
        ("method.hyperparameters.start", "/tmp/evil.py:f", r"method\.hyperparameters: a value names a file of code"),
        ("benchmark.conditions.evaluate", ["digits"], r"benchmark\.conditions\.evaluate: not the tasks"),
        ("rank", 1, r"rank: unknown field"),
        ("results.0.tier", "authors confirmed", r"results\.0\.tier: unknown field"),
        ("environment.home", "/root", r"environment\.home: unknown field"),
        ("submitter", ..., r"submitter: required, but not there"),
        ("schema_version", 2, r"schema_version: 2 is of a later mergebench"),
        ("schema_version", 0, r"schema_version: .*should be 1"),
        ("schema_version", True, r"schema_version: .*should be 1"),
        ("code.text", "print('other')", r"code\.sha256: the text's is another"),
        ("code.text", "x = 1  # \u202e }", r"code\.text: holds the unseen character U\+202E"),
        ("predictions.sha256", "0" * 64, r"predictions\.sha256: sub\.npz is another file"),
        ("submitter.licence", "MIT; rm -rf", r"submitter\.licence: .*pattern"),
        ("method.title", " \u3000\xa0", r"method\.title: holds blanks alone"),
        ("method.title", "\u3164", r"method\.title: holds the unseen character U\+3164"),
        ("method.title", "Z" + "\u0301" * 9, r"method\.title: holds more than 8 marks on one letter"),
        ("benchmark.conditions.zoo", [], r"benchmark\.conditions: zoo: not a mapping of fields"),
        ("benchmark.conditions.zoo", None, r"benchmark\.conditions: zoo: not a mapping of fields"),
        ("benchmark.conditions.restrict", "all", r"benchmark\.conditions: restrict: not a mapping of fields"),
        ("benchmark.conditions.more", ["x" * 99] * 1000, r"benchmark\.conditions: 10\d,\d+ characters as JSON"),
        ("benchmark.conditions.precision", "bfloat16", r"environment\.precision: 'float32', but .* say 'bfloat16'"),
        ("environment.precision", "float8", r"environment\.precision: 'float8', but .* say 'float32'"),
        ("environment.platform", "x" * 201, r"environment\.platform: .*at most 200 characters"),
        ("environment.device", "x" * 201, r"environment\.device: .*at most 200 characters"),
        ("environment.packages", {f"p{n}": "1" for n in range(201)}, r"environment\.packages: .*at most 200 items"),
        ("method.hyperparameters.weight", [0] * 2000, r"method\.hyperparameters: 6,\d+ characters as JSON; 4,000"),
        ("results.0.started", "2026-99-99T00:00:00+00:00", r"results\.0\.started: '2026-99-99T.* is no time"),
        ("results.0.started", "٢٠٢٦-01-01T00:00:00+00:00", r"results\.0\.started: .*pattern"),
    ],
)  # fmt: skip
def test_what_no_submission_holds(change, path, value, told):
    assert re.match(told, refusal(change(path, value)))


@pytest.mark.parametrize("title", ["Größe à la ε", "நிறம்", "हिन्दी", "ภาษาไทยนี้", "❤️ 4 merging", "-0.5", "Ắ"])
def test_ordinary_texts_pass(change, title):
    assert read(change("method.title", title)).submission.method.title == title


@pytest.mark.parametrize("line", ["# -*- coding: utf-7 -*-", "#!/bin/sh\n# vim: set fileencoding=raw_unicode_escape :"])
def test_code_that_python_would_read_as_another_text(submission, line):
    """In UTF-7, and where escapes are read, a comment holds lines of code."""
    hidden = f"{line}\n# +AAo-print(1)  # \\u000aprint(1)\n{submission.fields['code']['text']}"
    submission.fields["code"] |= {"text": hidden, "sha256": hashlib.sha256(hidden.encode()).hexdigest()}
    assert "code.text: names the coding " in refusal(submission.write())
    named = hidden.replace("utf-7", "utf-8").replace("raw_unicode_escape", "utf-8")
    submission.fields["code"] |= {"text": named, "sha256": hashlib.sha256(named.encode()).hexdigest()}
    assert read(submission.write()).submission.code.text == named


def test_a_name_that_is_markup_is_shown_by_its_path(change):
    assert refusal(change("benchmark.conditions.<img src=x>", 1)) == (
        "benchmark.conditions.<img src=x>: the name holds '<', which a page may take for markup"
    )


def test_a_name_of_several_lines_is_shown_on_one(change):
    told = refusal(change("benchmark.conditions.a\nb\x1b[31m", 1))
    assert told.startswith("benchmark.conditions.a b\\x1b[31m: the name holds the unseen character U+000A")


def test_a_path_in_a_key(submission):
    submission.fields["benchmark"]["weights"]["experts/../../x"] = "b" * 16
    assert re.match(r"benchmark\.weights\.experts/\.\./\.\./x: .*pattern", refusal(submission.write()))


def test_a_key_that_stands_twice(submission):
    whole = submission.write().read_text()
    submission.path.write_text(whole.replace('"weight": 0.5', '"weight": 0.5, "weight": 0.1'))
    assert refusal(submission.path) == "method.hyperparameters.weight: the key stands twice"


def test_nesting_and_size(submission):
    submission.write()
    deep = json.loads("[" * 20 + "]" * 20)
    submission.fields["benchmark"]["conditions"]["deep"] = deep
    assert "nested deeper than 16 levels" in refusal(submission.write())
    submission.path.write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")
    assert "nested deeper than 16 levels" in refusal(submission.path)
    submission.path.write_text(" " * (text.BYTES + 1))
    assert refusal(submission.path) == "sub.json has more than 1,000,000 bytes"
    submission.path.write_text('{"seed": ' + "9" * 5000 + "}")
    assert "a number of thousands of digits" in refusal(submission.path)


@pytest.mark.parametrize("content", [b"", b"[]", b"nul", b"\xff\xfe", b"{", b'{"a": 1', b'"text"', b"\x00" * 10])
def test_what_is_no_mapping_in_json(content):
    with pytest.raises(Refused):
        parsed(content)


def test_pipes_folders_and_what_is_missing(submission):
    submission.write()
    beside = submission.path.with_suffix(".npz")
    beside.unlink()
    assert refusal(submission.path) == "predictions: cannot read sub.npz: No such file or directory"
    os.mkfifo(beside)
    assert refusal(submission.path) == "predictions: sub.npz is no file"
    submission.path.unlink()
    submission.path.mkdir()
    assert "sub.json" in refusal(submission.path)
    assert "not a .json file" in refusal(submission.folder / "sub.npz")


def stated(submission, content: bytes) -> str:
    """The refusal of a submission whose arrays are this file, and which says so."""
    submission.write()
    return stated_bare(submission, content)


def stated_bare(submission, content: bytes) -> str:
    """The same of a submission that is written already."""
    submission.path.with_suffix(".npz").write_bytes(content)
    submission.fields["predictions"]["sha256"] = hashlib.sha256(content).hexdigest()
    submission.path.write_text(json.dumps(submission.fields))
    return refusal(submission.path)


def test_arrays_that_are_none_or_others(submission, tmp_path):
    assert stated(submission, b"no archive") == "predictions: cannot be read (BadZipFile)"
    other = tmp_path / "other.npz"
    write_predictions(other, submission.arrays | {"../evil": np.zeros(3, int)}, submission.labels)
    assert stated(submission, other.read_bytes()) == "predictions: array '../evil' is not expected"
    write_predictions(other, submission.arrays, {"digits": submission.labels["digits"]})
    assert stated(submission, other.read_bytes()) == "predictions: array 'labels/signs' is missing"
    write_predictions(other, submission.arrays | {"s0/digits": np.zeros(31, int)}, submission.labels)
    assert "s0/digits.npy are" in stated(submission, other.read_bytes())
    with zipfile.ZipFile(other, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("s0/digits.npy", b"")
    assert stated(submission, other.read_bytes()) == "predictions: an array is there twice"


def test_an_array_that_unpacks_to_gigabytes_is_not_unpacked(submission, tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    write_predictions(bomb, submission.arrays | {"s0/digits": np.zeros(5_000_000, int)}, submission.labels)
    content = bomb.read_bytes()
    assert len(content) < 100_000

    def unpack(*arguments):
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(zipfile.ZipFile, "read", lambda archive, name: unpack() if name == "s0/digits.npy" else b"")
    assert stated(submission, content) == "predictions: of s0/digits.npy are more than 30"


def test_an_array_of_objects_is_not_unpickled(submission, tmp_path):
    pickled = tmp_path / "pickled.npz"
    objects = np.array([{"evil": 1}] * 30, dtype=object)
    arrays = submission.arrays | {f"labels/{task}": ids for task, ids in submission.labels.items()}
    np.savez(pickled, **(arrays | {"s0/digits": objects}))
    assert stated(submission, pickled.read_bytes()).startswith("predictions: ")


def packed(submission, change, packing=zipfile.ZIP_DEFLATED) -> bytes:
    """The submission's arrays, of which `change(content)` makes `s0/digits` another; packed otherwise."""
    submission.write()
    content = io.BytesIO()
    with zipfile.ZipFile(submission.path.with_suffix(".npz")) as old, zipfile.ZipFile(content, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == "s0/digits.npy" else old.read(name))
    return content.getvalue()


@pytest.mark.parametrize(
    ("change", "size"), [(lambda c: c + b"xx", 62), (lambda c: c[:-2], 58), (lambda c: c[:-1], 59)]
)
def test_an_array_of_another_length_than_its_header_says(submission, change, size):
    told = f"predictions: of s0/digits.npy are {size} bytes, not those of 30 class ids"
    assert stated(submission, packed(submission, change)) == told


@pytest.mark.parametrize("dtype", ["<i8", "u1", "<u4", "<i2"])
def test_class_ids_of_another_width(submission, dtype):
    def wider(content: bytes) -> bytes:
        file = io.BytesIO()
        np.lib.format.write_array(file, np.lib.format.read_array(io.BytesIO(content)).astype(dtype))
        return file.getvalue()

    told = f"predictions: of s0/digits are {np.dtype(dtype)}, not uint16"
    assert stated(submission, packed(submission, wider)) == told


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_unpack_in_one_step(submission, packing):
    told = stated(submission, packed(submission, bytes, packing))
    assert told == "predictions: of s0/digits.npy are packed in another way than by deflation"


def test_an_array_that_unpacks_to_more_than_it_states(submission, monkeypatch):
    """64 MB of zeros behind a list that says 188 bytes; unpacking is stopped there."""
    content = bytearray(packed(submission, lambda c: c[:128] + bytes(64_000_000)))
    for signature, before, place in ((b"PK\3\4", 30, 22), (b"PK\1\2", 46, 24)):
        ends = (found.start() - before for found in re.finditer(b"s0/digits.npy", content))
        at = next(end for end in ends if content[end : end + 4] == signature) + place
        content[at : at + 4] = (188).to_bytes(4, "little")
    monkeypatch.setattr(reading, "ARRAYS", 1_000_000)  # as much room is made for the file
    tracemalloc.start()
    try:
        assert stated(submission, bytes(content)).startswith("predictions: cannot be read")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_an_archive_of_a_million_entries_is_not_listed(submission, monkeypatch):
    content = packed(submission, bytes) + b"PK\1\2" * 1_000_000
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "an archive of more than the 8 arrays that are expected" in stated_bare(submission, content)


def test_more_class_ids_than_any_suite_has(submission, monkeypatch):
    monkeypatch.setattr(reading, "IDS", 100)
    assert refusal(submission.write()) == "predictions: 200 class ids; 100 at most"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, way=()):
    """The way to every field, the innermost too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*way, key)
        yield from places(below, (*way, key))


# What may be changed while the submission still holds: it proves counts, not who says them, nor what it took.
FREE = {
    "title",
    "paper",
    "year",
    "fidelity",
    "family",
    "needs",
    "hyperparameters",
    "source",
    "engine",
    "starts",
    "name",
}
FREE |= {
    "method",
    "benchmark",
    "conditions",
    "merged",
    "weights",
    "data",
    "origins",
    "suite",
    "version",
    "zoo",
    "drawn",
}
FREE |= {"code", "submitter", "author", "licence", "implementation", "environment", "seconds", "peak_bytes", "merge"}
FREE |= {"evaluation", "started", "function"}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_a_field_it_is_read_or_refused(submission, data):
    submission.write()
    way = data.draw(st.sampled_from(list(places(submission.fields))))
    value = data.draw(json_values)
    fields = json.loads(json.dumps(submission.fields))
    at = fields
    for part in way[:-1]:
        at = at[part]
    before, at[way[-1]] = at[way[-1]], value
    submission.path.write_text(json.dumps(fields), errors="surrogatepass")
    try:
        read(submission.path)
    except Refused as reason:
        assert "\n" not in str(reason) and len(str(reason)) < 2000
    else:
        assert type(value) is type(before) and value == before or FREE & set(map(str, way))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_whatever_bytes_the_arrays_hold_they_are_read_or_refused(submission, place, byte, cut):
    submission.write()
    beside = submission.path.with_suffix(".npz")
    content = bytearray(beside.read_bytes())
    at = int(place * len(content))
    content = content[:at] if cut else content[:at] + bytes([byte]) + content[at + 1 :]
    beside.write_bytes(content)
    submission.fields["predictions"]["sha256"] = hashlib.sha256(content).hexdigest()
    submission.path.write_text(json.dumps(submission.fields))
    try:
        found = read(submission.path)
    except Refused as reason:
        assert str(reason).startswith(("predictions", "results", "experts"))
    else:
        assert all(len(found.predictions[name]) == len(ids) for name, ids in submission.arrays.items())


@settings(max_examples=100)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | json_values.map(json.dumps).map(str.encode)
)
def test_whatever_bytes_a_file_holds_it_is_a_mapping_or_refused(content):
    with suppress(Refused):
        assert isinstance(parsed(content), dict)
