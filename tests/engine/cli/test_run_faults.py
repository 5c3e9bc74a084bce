"""A run that is killed, interrupted, or refused by the disk at any point of its writing goes on where it was."""

import os
import subprocess
import sys
from itertools import chain

import pytest
import yaml

from mergebench.measuring.results import ResultStore

pytestmark = pytest.mark.long

# Torch is imported once: each run is a fork. Where it writes is counted; what strikes is a signal, or an error.
SCRIPT = """
import contextlib, itertools, os, shutil, signal, sys
import faults
import lightning, timm, torch
import mergebench.measuring.evaluation, mergebench.running.execution
from mergebench.cli import main

out, kinds, points, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores interrupts

def run(place, said, kind="", number=0):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    calls, writes = itertools.count(1), itertools.count(1)

    def point(name, path, half):
        path = path[0] if isinstance(path, tuple) else path
        path = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else str(path)
        if not path.startswith(out):
            return
        at, writes_so_far = next(calls), None if name in ("unlink", "chmod", "look") else next(writes)
        if kind == "28":  # a full disk refuses what takes room
            at = writes_so_far
        if at is None:
            return
        if number and (at == number or (kind == "28" and at > number)):
            if half:
                half()
            if kind == "28":
                raise OSError(28, os.strerror(28))
            os.kill(os.getpid(), int(kind))

    file = open(said, "w")
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    with faults.watched(point):
        status = main(["run", *arguments, "--out", place])
    if not number:
        print("points", next(calls) - 1, next(writes) - 1)
    sys.stdout.flush()
    os._exit(status)

print(run(f"{out}/whole", f"{out}/whole.txt"), flush=True)
*_, points_of_all, points_of_a_disk = open(f"{out}/whole.txt").read().split()
for kind in kinds.split(","):
    total = int(points_of_a_disk if kind == "28" else points_of_all)
    for number in (round(total * (i + 0.5) / int(points)) for i in range(int(points))):
        place = f"{out}/{kind}-{number}"
        print(kind, number, run(place, f"{place}.txt", kind, number), run(place, f"{place}-again.txt"), flush=True)
"""
POINTS = os.environ.get("RUN_FAULTS", "2")  # how many of some hundred


def outcome(folder):
    """All that was measured, but for times."""
    results = {r.method: {t: s.model_dump() for t, s in r.tasks.items()} for r in ResultStore(folder).all()}
    predictions = {p.stem: p.read_bytes() for p in folder.glob("cells/*/*.npz")}
    pages = {str(p.relative_to(folder)) for p in chain(folder.glob("*.*"), folder.glob("site/**/*.*"))}
    return results, predictions, {page for page in pages if not page.rpartition("/")[2].startswith(".")}


SAID = {
    "9": (-9, ""),
    "15": (143, "mergebench: terminated; finished cells are kept, run again to go on\n"),
    "2": (130, "mergebench: interrupted; finished cells are kept, run again to go on\n"),
    "28": (2, "mergebench: error: cannot write "),
}


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """The folder of a whole run and of those that were struck, and a line (kind, place, statuses) for each of these."""
    folder = tmp_path_factory.mktemp("struck")
    suite = {"title": "t", "zoo": "tiny", "merge": ["landcover", "digits"], "evaluate": ["digits"]}
    (folder / "two.yaml").write_text(yaml.safe_dump(suite))
    environment = os.environ | {
        "PYTHONPATH": os.path.join(os.path.dirname(__file__), *[os.pardir] * 2, "instruments"),
        "OMP_NUM_THREADS": "1",
    }
    arguments = ["--methods", "average", "ties", "--suite", "two.yaml"]
    command = [sys.executable, "-c", SCRIPT, folder / "out", ",".join(SAID), POINTS, *arguments]
    (folder / "out").mkdir()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    first, *others = done.stdout.splitlines()
    assert first == "0", done.stderr + (folder / "out" / "whole.txt").read_text()
    return folder / "out", others


@pytest.mark.parametrize("kind", SAID, ids=["SIGKILL", "SIGTERM", "SIGINT", "ENOSPC"])
def test_wherever_it_is_struck_the_same_command_goes_on(kind, struck):
    folder, lines = struck
    whole = outcome(folder / "whole")
    assert len(whole[0]) == 3 and len(whole[1]) == 3
    status, told = SAID[kind]
    own = [line.split()[1:] for line in lines if line.split()[0] == kind]
    assert len(own) == int(POINTS)
    for number, first, again in own:
        said = (folder / f"{kind}-{number}.txt").read_text()
        assert "Traceback" not in said, said
        if kind == "28" and first == "0":  # only pages could not be written, when all was measured
            assert "not written: cannot write" in " ".join(said.split()), said
        else:
            assert int(first) == status and told in said, (number, first, said)
        assert again == "0" and outcome(folder / f"{kind}-{number}") == whole, number
