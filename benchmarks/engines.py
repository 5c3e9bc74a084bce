"""One suite, all methods, by one process, by two, and by a Ray cluster of two nodes on this machine.

    python benchmarks/engines.py [--suite tiny-20] [--methods all] [--engines one workers ray] [--json FILE]

Each run is a command of its own into an empty folder, on a quiet machine. One process has as many threads as there are
workers in the others, so that the same cores are busy. Told are seconds from start to end, the seconds of all cells
together, and of the longest group of cells that cannot be divided; results are held to each other, bit by bit where the
number of threads is the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

from mergebench.measuring.results import Result, ResultStore

ENGINES = ("one", "workers", "ray")


def timed(out: Path, *options: str, **environment: str) -> float:
    """Seconds that one run takes.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "mergebench", "run", "--out", str(out), *options]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}"[-3000:]
        )
    return time.perf_counter() - start


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a Ray cluster of so many nodes of one core."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    pair = [started.add_node(num_cpus=1) for _ in range(nodes)]
    try:
        yield started.address
    finally:
        for node in pair:
            started.remove_node(node, allow_graceful=False)
        started.remove_node(started.head_node, allow_graceful=False)


def facts(results: list[Result], of: str) -> dict[tuple[str, int], Any]:
    """Per cell its counts, or the hash of its weights."""
    if of == "weights":
        return {(r.method, r.seed): r.merged_weights for r in results}
    return {(r.method, r.seed): {t: s.correct for t, s in r.tasks.items()} for r in results}


def told(name: str, seconds: float, results: list[Result]) -> dict[str, Any]:
    """What is noted of a run."""
    cells = {r.method: round(r.merge.seconds + r.evaluation.seconds, 1) for r in results if r.merge}
    longest = max(cells, key=cells.__getitem__)
    return {
        "run": name,
        "seconds": round(seconds, 1),
        "cells": len(results),
        "failed": sum(r.status == "failed" for r in results),
        "seconds_of_cells": round(sum(cells.values()), 1),
        "longest": longest,
        "longest_seconds": cells[longest],
    }


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="tiny-20")
    parser.add_argument("--methods", nargs="+", default=["all"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES, help="only these")
    parser.add_argument("--json", type=Path, help="what was measured before and is not now is kept in it")
    asked = parser.parse_args()
    what, count = ["--suite", asked.suite, "--methods", *asked.methods], str(asked.workers)
    runs, found = [], {}
    with tempfile.TemporaryDirectory(prefix="mergebench-engines-") as folder:

        def entered(name: str, *options: str, **environment: str) -> None:
            out = Path(folder, name)
            seconds = timed(out, *what, *options, **environment)
            found[name] = list(ResultStore(out).all())
            runs.append(told(name, seconds, found[name]))
            print(json.dumps(runs[-1]), flush=True)

        if "one" in asked.engines:
            entered("one process", "--threads", count)
        if "workers" in asked.engines:
            entered(f"{count} workers", "--workers", count, "--threads", "1")
        if "ray" in asked.engines:
            with cluster(asked.workers) as address:
                quick = {"RAY_ADDRESS": address, "RAY_worker_niceness": "0"}
                entered(f"Ray, {count} nodes", "--engine", "ray", "--threads", "1", **quick)
    print(json.dumps(differing(found)))
    if asked.json:
        before = json.loads(asked.json.read_text()) if asked.json.exists() else []
        before = [run for run in before if run["run"] not in found]
        asked.json.write_text(json.dumps([*before, *runs], indent=1) + "\n")


def differing(found: dict[str, list[Result]]) -> dict[str, list[str]]:
    """For each two runs the methods whose counts, and whose weights, are not the same.

    Weights only where both compute on one thread.
    """
    told = {}
    for one, other in combinations(found, 2):
        for of in ("counts", "weights"):
            if of == "counts" or "one process" not in (one, other):
                ours, theirs = facts(found[one], of), facts(found[other], of)
                told[f"{of} of {one} and {other}"] = sorted({m for m, s in ours if ours[m, s] != theirs.get((m, s))})
    return told


if __name__ == "__main__":
    main()
