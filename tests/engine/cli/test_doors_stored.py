"""Results and submissions of other people's: told and set aside, shown without what acts, within bounds."""

import csv
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from guard import Guard
from stored_result import stored

from mergebench.errors import is_unseen

ACTS = "=cmd|'/c calc'!A0\x1b[2J\u202e<script>alert(1)</script>\\input{x}$&#|`"


class Touches:
    def __init__(self, canary):
        self._canary = canary

    def __reduce__(self):
        return (Path.touch, (self._canary,))


@pytest.fixture
def guard(command, tmp_path):
    return Guard(command, tmp_path / "canary")


def bomb(path, **how):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        for _ in range(512):
            member.write(bytes(2**20))


def objects(path):
    """An array that would be unpickled."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (4,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", file.getvalue() + pickle.dumps(Touches(path.parents[3] / "canary")))


def members(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.npy", b"")


def endless(path):
    os.truncate(path, 10**11)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def texted(text):
    return lambda path: path.write_text(text)


JSON = {
    "deep": texted("[" * 1_000_000),
    "deep in a field": lambda path: path.write_text(
        path.read_text().replace('"diagnostics": {', '"diagnostics": {"x": ' + "[" * 100_000 + "]" * 100_000 + ",")
    ),
    "a number without end": lambda path: path.write_text(
        path.read_text().replace('"seed": 0', '"seed": ' + "9" * 10**6)
    ),
    "not finite": lambda path: path.write_text(path.read_text().replace('"seconds": 1.0', '"seconds": NaN')),
    "endless": endless,
    "a pipe": pipe,
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Touches(path.parents[3] / "canary"))),
    "names that act": texted(json.dumps({"status\x1b[2J": ACTS})),
}
SIDE = {"a bomb": bomb, "objects": objects, "many members": members, "endless": endless, "a pipe": pipe}
VERBS = {
    "leaderboard": ("leaderboard",),
    "table": ("table", "--format", "csv"),
    "compare": ("compare", "good", "mine"),
}


@pytest.mark.parametrize("kind", [*JSON, *(f"arrays: {kind}" for kind in SIDE)])
def test_results(kind, guard, tmp_path):
    """Beside one that holds."""
    stored(tmp_path / "run", method="good", title="Good")
    path = stored(tmp_path / "run")
    (SIDE[kind[8:]] if kind.startswith("arrays: ") else JSON[kind])(
        path.with_suffix(".npz") if kind.startswith("arrays: ") else path
    )
    for verb, words in VERBS.items():
        if verb != "leaderboard" and kind not in ("deep", "arrays: a bomb"):
            continue
        done = guard.ran(*words, "--out", tmp_path / "run")
        assert done.status == (2 if verb == "compare" else 0), done
        assert path.name in done.out + done.err and "is set aside: it" in done.out + done.err, (verb, done)


def test_what_a_result_is_called_acts_on_nothing(guard, tmp_path):
    """A result that holds, whose every text does what it can; on the terminal, in tables and on pages."""
    run = tmp_path / "run"
    stored(run, method="good", title="Good", names=(ACTS, "b"), suite=f"two{ACTS}", zoo=ACTS)
    stored(run, method=f"m{ACTS}", title=ACTS, paper=ACTS, names=(ACTS, "b"), suite=f"two{ACTS}", zoo=ACTS, family=ACTS)
    failed = {"status": "failed", "error": ACTS, "where": ACTS, "traceback": ACTS, "tasks": {}}
    stored(run, method="bad", names=(ACTS, "b"), suite=f"two{ACTS}", zoo=ACTS, **failed)
    assert guard.ran("leaderboard", "--out", run).status == 0
    written = [path for path in run.rglob("*") if path.suffix in (".html", ".md", ".csv", ".js", ".svg", ".tex")]
    assert len(written) > 3
    for path in written:
        text = path.read_text()
        assert not [c for c in text if is_unseen(c) and c not in "\n\t"], path
        assert path.suffix == ".csv" or "<script>alert" not in text, path
    for style in ("markdown", "csv", "latex", "typst"):
        done = guard.ran("table", "--out", run, "--format", style)
        assert done.status == 0
        if style == "csv":
            cells = [cell for row in csv.reader(io.StringIO(done.out)) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "@", "+", "\t"))], cells
        lines = [line for line in done.out.splitlines() if not line.startswith("%")]  # comments
        assert style != "latex" or not [line for line in lines if "\\input{x}" in line]


@pytest.mark.parametrize("kind", JSON)
def test_submissions(kind, guard, tmp_path):
    file = tmp_path / "a" / "b" / "c" / "hostile.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"schema_version": 1, "seed": 0, "seconds": 1.0, "diagnostics": {}}')
    JSON[kind](file)
    done = guard.ran("verify", file)
    assert done.status == 1 and "hostile" in done.out + done.err, done
