"""What the commands cost: wall time and peak memory of a whole run, of every verb after it, and of every method.

Usage: python benchmarks/run_cost.py [--suite tiny-8] [--methods all] [--threads 2] [--json FILE] [--out FOLDER]

Every command is a process of its own, on an empty output folder; the image cache is measured empty and filled. With
`--out`, only the verbs are measured, after a run that finishes what is there.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path


def timed(arguments: list[str], cache: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one `mergebench` command.

    Raises:
        SystemExit: the command failed; a failed run has no cost to speak of.
    """
    start = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "mergebench", *arguments],
        {**os.environ, "MERGEBENCH_CACHE": cache},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"mergebench {' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


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
        "describe ties": ["describe", "ties"],
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
        costs = {name: timed(command, cache) for name, command in (runs | verbs(run, out)).items()}
        # Imported only now: a child's peak is counted from its fork, when it is still as large as this process.
        from mergebench.measuring.results import ResultStore

        measured = ResultStore(out if options.out else f"{out}2").all()
        results = sorted((r for r in measured if r.merge), key=lambda r: -r.merge.seconds)
    print("| command | seconds | peak MB |\n|---|---:|---:|")
    for name, (seconds, peak) in costs.items():
        print(f"| {name} | {seconds:.1f} | {peak:.0f} |")
    print("\n| method | merge s | merge peak MB | evaluate s |\n|---|---:|---:|---:|")
    for r in results:
        peak = "-" if r.merge.peak_bytes is None else f"{r.merge.peak_bytes / 1e6:.0f}"
        print(f"| {r.method} | {r.merge.seconds:.2f} | {peak} | {r.evaluation.seconds:.2f} |")
    if options.json:
        methods = {r.method: [r.merge.model_dump(), r.evaluation.model_dump()] for r in results}
        options.json.write_text(json.dumps({"commands": costs, "methods": methods}, indent=1) + "\n")


if __name__ == "__main__":
    main()
