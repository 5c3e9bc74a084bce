"""mergebench and FusionBench on the same weights and images, in turn: seconds, peaks, and how far results differ.

    python benchmarks/peer/compare.py [--methods regmean regmean++] [--pairs 3] [--json FILE]

Each merge is a process of its own; A and B run in turn, after one look at how fast products of matrices are just then.
FusionBench lives in a virtual environment of its own, which is made once, in the cache folder. Seconds are those of
the merge alone, from models and images in memory to the merged model; peaks are of the whole process.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from floor import operations
from inputs import fill
from safetensors.torch import load_file
from settings import COMPARISONS, Comparison
from watching import MARK

from mergebench.data.image_cache import cache_root

HERE = Path(__file__).parent
REQUIREMENTS = (HERE / "requirements.txt").read_text()
WITH_FLOOR = ("regmean", "regmean++")


def environment(folder: Path) -> Path:
    """FusionBench's Python, installed if it is not there: with this project's torch, that the library be the same."""
    needs = REQUIREMENTS + f"torch=={version('torch').partition('+')[0]}\n"
    done = folder / "installed.txt"
    python = folder / "venv" / "bin" / "python"
    if not done.exists() or done.read_text() != needs:
        print(f"installing FusionBench into {folder}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "requirements.txt").write_text(needs)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / "venv")], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(folder / "requirements.txt")]
        subprocess.run(install, check=True)
        done.write_text(needs)
    return python


def measured(python: Path | str, script: str, *arguments: str) -> dict[str, float]:
    """What a worker tells of its merge.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run([str(python), str(HERE / script), *arguments], capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not told:
        raise SystemExit(f"{script} {' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(told[0].removeprefix(MARK))


def difference(ours: Path, theirs: Path) -> float:
    """The largest relative distance of a merged tensor, ||ours - theirs|| / ||theirs||."""
    one, other = load_file(ours), load_file(theirs)
    assert one.keys() == other.keys()
    norm = torch.linalg.vector_norm
    return max(float(norm(one[n].double() - t.double()) / norm(t.double()).clamp(min=1e-12)) for n, t in other.items())


def compared(comparison: Comparison, name: str, python: Path, folder: Path, pairs: int) -> dict[str, Any]:
    """Both sides in turn."""
    place, found = str(fill(folder, comparison.size)), {"ours": [], "theirs": [], "gflops": []}
    with tempfile.TemporaryDirectory() as results:
        ours, theirs = Path(results) / "ours.safetensors", Path(results) / "theirs.safetensors"
        for _ in range(pairs):
            looked = subprocess.run(
                [sys.executable, str(HERE / "floor.py")], capture_output=True, text=True, check=True
            )
            found["gflops"].append(float(looked.stdout))
            found["ours"].append(measured(sys.executable, "ours.py", name, place, str(ours)))
            found["theirs"].append(measured(python, "theirs.py", name, place, str(theirs)))
        found["difference"] = difference(ours, theirs)
    found["ratios"] = [a["seconds"] / b["seconds"] for a, b in zip(found["ours"], found["theirs"], strict=True)]
    if name in WITH_FLOOR:
        found["operations"] = operations(name, comparison.size)
        found["floors"] = [sum(found["operations"].values()) / 1e9 / gflops for gflops in found["gflops"]]
    return found


def row(name: str, told: str, found: dict[str, Any]) -> str:
    """A line of the table: medians; of the ratio the extremes as well."""
    ours, theirs = (
        {key: median(run[key] for run in found[side]) for key in ("seconds", "peak_gb")} for side in ("ours", "theirs")
    )
    ratios, floors = found["ratios"], found.get("floors")
    floor = f"{median(floors):.1f}" if floors else "-"
    above = f"{median(a['seconds'] / f for a, f in zip(found['ours'], floors, strict=True)):.2f}" if floors else "-"
    cells = [
        name + (f" ({told})" if told else ""),
        f"{ours['seconds']:.1f}",
        f"{theirs['seconds']:.1f}",
        f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        floor,
        above,
        f"{ours['peak_gb']:.1f}",
        f"{theirs['peak_gb']:.1f}",
        f"{found['difference']:.0e}",
    ]
    return "| " + " | ".join(cells) + " |"


def machine() -> str:
    """Processor, cores, Python and libraries."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    cores = len(os.sched_getaffinity(0))
    software = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{processor or platform.machine()}, {cores} cores, {software}"


def main() -> None:
    """Compare, print a Markdown table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tasks", type=int, help="where not as the comparison has it; so are the next two")
    parser.add_argument("--images", type=int, help="of a task")
    parser.add_argument("--blocks", type=int, help="of the encoder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, default=cache_root() / "peer")
    asked = parser.parse_args()
    python = environment(asked.folder)
    told = {"machine": machine(), "fusion_bench": re.search(r"fusion-bench==(\S+)", REQUIREMENTS)[1], "methods": {}}
    print(told["machine"])
    print("| method | seconds | FusionBench | ratio | floor | of floor | peak GB | FusionBench | difference |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name in asked.methods:
        changed = {k: v for k in ("tasks", "images", "blocks") if (v := getattr(asked, k)) is not None}
        comparison = replace(COMPARISONS[name], size=replace(COMPARISONS[name].size, **changed))
        found = compared(comparison, name, python, asked.folder / "inputs", asked.pairs)
        told["methods"][name] = found
        print(row(name, comparison.told, found), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
