"""A run that is killed, interrupted, or refused by the disk at any point of its writing goes on where it was."""

import os
import subprocess
import sys
from itertools import chain

import pytest

from mergebench.measuring.results import ResultStore

# Torch is imported once: each run is a fork. Where it writes is counted; what strikes is a signal, or an error.
SCRIPT = """
import contextlib, itertools, os, shutil, signal, sys
import faults
import lightning, timm, torch
import mergebench.measuring.evaluation, mergebench.running.execution
from mergebench.cli import main

out, kind, points, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores interrupts

def run(place, said, number=0):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    calls = itertools.count(1)

    def point(name, path, half):
        path = path[0] if isinstance(path, tuple) else path
        path = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else str(path)
        if not path.startswith(out) or (kind == "28" and name in ("unlink", "chmod", "look")):
            return
        at = next(calls)
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
        print("points", next(calls) - 1)
    sys.stdout.flush()
    os._exit(status)

print(run(f"{out}/whole", f"{out}/whole.txt"))
total = int(open(f"{out}/whole.txt").read().split()[-1])
for number in (round(total * (i + 0.5) / int(points)) for i in range(int(points))):
    place = f"{out}/{number}"
    print(number, run(place, f"{place}.txt", number), run(place, f"{place}-again.txt"), flush=True)
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


@pytest.mark.parametrize("kind", SAID, ids=["SIGKILL", "SIGTERM", "SIGINT", "ENOSPC"])
def test_wherever_it_is_struck_the_same_command_goes_on(kind, tmp_path, write):
    suite = write("two", title="t", zoo="tiny", merge=["landcover", "digits"], evaluate=["digits"])
    arguments = ["--methods", "average", "ties", "--suite", suite]
    environment = os.environ | {
        "PYTHONPATH": os.path.join(os.path.dirname(__file__), *[os.pardir] * 2, "instruments"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "out", kind, POINTS, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=(tmp_path / "out").mkdir() or tmp_path,
    )
    first, *others = done.stdout.splitlines()
    assert first == "0", done.stderr + (tmp_path / "out" / "whole.txt").read_text()
    whole = outcome(tmp_path / "out" / "whole")
    assert len(whole[0]) == 3 and len(whole[1]) == 3
    status, told = SAID[kind]
    for line in others:
        number, struck, again = line.split()
        said = (tmp_path / "out" / f"{number}.txt").read_text()
        assert "Traceback" not in said, said
        if kind == "28" and struck == "0":  # only pages could not be written, when all was measured
            assert "not written: cannot write" in " ".join(said.split()), said
        else:
            assert int(struck) == status and told in said, (number, struck, said)
        assert again == "0" and outcome(tmp_path / "out" / number) == whole, number
