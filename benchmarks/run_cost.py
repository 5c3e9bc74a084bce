"""What the commands cost: wall time and peak memory of a whole run, of running again, and of every method.

Usage: python benchmarks/run_cost.py [--suite tiny-8] [--threads 2] [--json FILE]

Every command is a process of its own, on an empty output folder; the image cache is measured empty and filled.
"""

import argparse
import json
import os
import sys
import tempfile
import time
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


def main() -> None:
    """Measure and print a Markdown table of commands and one of methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="tiny-8")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out, cache = f"{folder}/runs", f"{folder}/cache"
        run = ["run", "--methods", "all", "--suite", options.suite]
        run += ["--threads", str(options.threads)] if options.threads else []
        commands = {
            "--help": ["--help"],
            "list methods": ["list", "methods"],
            "run, empty image cache": [*run, "--out", out],
            "run again (all cells done)": [*run, "--out", out],
            "run, filled image cache": [*run, "--out", f"{out}2"],
        }
        costs = {name: timed(arguments, cache) for name, arguments in commands.items()}
        # Imported only now: a child's peak is counted from its fork, when it is still as large as this process.
        from mergebench.measuring.results import ResultStore

        results = sorted(ResultStore(f"{out}2").all(), key=lambda r: -(r.merge.seconds if r.merge else 0))
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
