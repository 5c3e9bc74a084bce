"""What the commands cost: time and peak memory of a whole run, of every verb after it, and of every method.

Usage: python benchmarks/run_cost.py [--suite tiny-8] [--methods all] [--threads 2] [--json FILE] [--out FOLDER]

Every command is a process of its own, on an empty output folder; the image cache is measured empty and filled. With
`--out`, only the verbs are measured, after a run that finishes what is there. Of a verb the quickest of `--repeat`
counts, with the processor's seconds beside those of the clock, and the large libraries that it imports are named.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

# What takes long to import, or much memory.
LARGE = ("numpy", "pydantic", "torch", "sympy", "timm", "torchvision", "torchmetrics", "lightning", "scipy", "pandas")


class Cost(NamedTuple):
    """What a command takes.

    Args:
        seconds: by the clock.
        processor: seconds of all threads together.
        peak: resident MB.
        libraries: those of `LARGE` that it imported, in that order.
    """

    seconds: float
    processor: float
    peak: float
    libraries: tuple[str, ...]


def timed(arguments: list[str], cache: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one `mergebench` command; raises as `cost_of` does."""
    cost = cost_of(arguments, cache)
    return cost.seconds, cost.peak


def cost_of(arguments: list[str], cache: str) -> Cost:
    """What one `mergebench` command takes.

    Raises:
        SystemExit: the command failed; a failed run has no cost to speak of.
    """
    # As `python -m mergebench` does, and at the end it is written down what was imported.
    code = (
        "import atexit, runpy, sys\n"
        f"atexit.register(lambda: open(3, 'w').write(' '.join(n for n in {LARGE!r} if n in sys.modules)))\n"
        "runpy.run_module('mergebench', run_name='__main__', alter_sys=True)"
    )
    read, write = os.pipe()
    start = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code, *arguments],
        {**os.environ, "MERGEBENCH_CACHE": cache},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, write, 3)],
    )
    os.close(write)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    with open(read) as told:
        libraries = told.read().split()
    if status:
        raise SystemExit(f"mergebench {' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, tuple(libraries))


def quickest(arguments: list[str], cache: str, repeat: int) -> Cost:
    """The least of a command's times by the clock and of the processor, and its largest peak."""
    costs = [cost_of(arguments, cache) for _ in range(repeat)]
    return costs[0]._replace(
        seconds=min(c.seconds for c in costs),
        processor=min(c.processor for c in costs),
        peak=max(c.peak for c in costs),
    )


def verbs(run: list[str], out: str) -> dict[str, list[str]]:
    """Commands of which people wait for the answer, once a run stands in a folder.

    Args:
        run: the command of the run.
        out: its folder.
    """
    weights = Path(str(files("mergebench.tasks") / "tiny" / "weights"))
    experts = [str(weights / "experts" / f"{task}.safetensors") for task in ("digits", "signs")]
    merged = f"{out}/merged.safetensors"
    return {
        "--help": ["--help"],
        "check --help": ["check", "--help"],
        "list methods": ["list", "methods"],
        "list tasks": ["list", "tasks"],
        "describe ties": ["describe", "ties"],
        "doctor": ["doctor"],
        "run again (all cells done)": [*run, "--out", out],
        "run --dry-run, of the same": [*run, "--out", out, "--dry-run"],
        "run --dry-run, of what was never planned": [*run, "--out", out, "--seeds", "7", "--dry-run"],
        "leaderboard": ["leaderboard", "--out", out],
        "merge of two files": [
            "merge",
            "--base",
            "tiny",
            "--experts",
            *experts,
            "--method",
            "ties",
            "--output",
            merged,
        ],
        "evaluate": ["evaluate", merged],
    }


def main() -> None:
    """Measure and print a Markdown table of commands and one of methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="tiny-8")
    parser.add_argument("--methods", nargs="+", default=["all"])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None, help="a folder with a run of these methods: only the verbs")
    parser.add_argument("--repeat", type=int, default=3, help="times that every verb is measured")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out, cache = str(options.out or f"{folder}/runs"), f"{folder}/cache"
        run = ["run", "--methods", *options.methods, "--suite", options.suite]
        run += ["--threads", str(options.threads)] if options.threads else []
        if options.out:  # with the images of this machine's own cache: what is not measured is not made
            cache = os.environ.get("MERGEBENCH_CACHE") or cache
            timed([*run, "--out", out], cache)
            runs = {}
        else:
            runs = {
                "run, empty image cache": [*run, "--out", out],
                "run, filled image cache": [*run, "--out", f"{out}2"],
            }
        costs = {}
        print("| command | seconds | of the processor | peak MB | large libraries |\n|---|---:|---:|---:|---|")
        for name, command in (runs | verbs(run, out)).items():
            cost = costs[name] = quickest(command, cache, 1 if name in runs else options.repeat)
            libraries = ", ".join(cost.libraries) or "-"
            print(f"| {name} | {cost.seconds:.2f} | {cost.processor:.2f} | {cost.peak:.0f} | {libraries} |", flush=True)
        # Imported only now: a child's peak is counted from its fork, when it is still as large as this process.
        from mergebench.measuring.results import ResultStore

        measured = ResultStore(out if options.out else f"{out}2").all()
        results = sorted((r for r in measured if r.merge), key=lambda r: -r.merge.seconds)
    print("\n| method | merge s | merge peak MB | evaluate s |\n|---|---:|---:|---:|")
    for r in results:
        peak = "-" if r.merge.peak_bytes is None else f"{r.merge.peak_bytes / 1e6:.0f}"
        print(f"| {r.method} | {r.merge.seconds:.2f} | {peak} | {r.evaluation.seconds:.2f} |")
    if options.json:
        methods = {r.method: [r.merge.model_dump(), r.evaluation.model_dump()] for r in results}
        options.json.write_text(
            json.dumps({"commands": {n: c._asdict() for n, c in costs.items()}, "methods": methods}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
