"""How long the tutorials take, line by line as they stand, each in an empty folder; what needs a hub is left out.

python benchmarks/tutorial_cost.py        # the table of docs/costs.md, and docs/tutorials.json
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from marks import pasted

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
# What of a page is gone through, where it marks a part; elsewhere all of it.
PARTS = ("tutorial", "walk")


def lines(text: str) -> list[list[str]]:
    """The commands of a page, in words."""
    marked = [re.search(rf"<!-- {part} -->(.*?)<!-- /{part} -->", text, re.DOTALL) for part in PARTS]
    chosen = next((found[1] for found in marked if found), text)
    found = [line for block in re.findall(r"```sh\n(.*?)```", chosen, re.DOTALL) for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in found if "clip-" not in line]
    return [line for line in words if line and line[0] in ("mergebench", "python")]


def files(text: str) -> dict[str, str]:
    """The files that a page has its reader write."""
    return dict(re.findall(r"```(?:yaml|python)\n# (\S+\.\w+)\n(.*?)```", text, re.DOTALL))


def gone_through(page: Path) -> dict[str, float]:
    """Line -> seconds, of a page.

    Raises:
        SystemExit: a line failed.
    """
    text, found = page.read_text(encoding="utf-8"), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files(text).items():
            (Path(folder) / name).write_text(content, encoding="utf-8")
        for words in lines(text):
            place = [str(ROOT / word) if word.startswith("benchmarks/") else word for word in words]
            found[shlex.join(words)] = timed(place, folder)
    return found


def executed(notebook: Path) -> dict[str, float]:
    """The notebook's seconds, from its first cell to its last."""
    import nbclient
    import nbformat

    cells = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(cells, timeout=600, resources={"metadata": {"path": folder}})
        start = time.perf_counter()
        client.execute()
        return {"all cells": round(time.perf_counter() - start, 1)}


def timed(words: list[str], folder: str) -> float:
    """Seconds that a command takes."""
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)}: status {done.returncode}\n{done.stderr[-2000:]}")
    return round(time.perf_counter() - start, 1)


def table(found: dict[str, dict[str, float]]) -> str:
    """A line for each tutorial."""
    rows = ["| tutorial | commands | seconds | of which the longest |", "|---|---:|---:|---|"]
    for name, seconds in found.items():
        longest = max(seconds, key=lambda line: seconds[line])
        whole, most = sum(seconds.values()), f"`{longest}` ({seconds[longest]:.0f})"
        rows.append(f"| [{name}](tutorials/{name}) | {len(seconds)} | {whole:.0f} | {most} |")
    return "\n".join(rows)


def main() -> None:
    """Go through all, keep and paste."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="these files' names")
    parser.add_argument("--json", type=Path, default=ROOT / "docs/tutorials.json")
    asked = parser.parse_args()
    # As it is where the environment is activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = json.loads(asked.json.read_text()) if asked.json.exists() else {}
    for page in sorted(TUTORIALS.iterdir()):
        if not asked.only or page.name in asked.only:
            found[page.name] = executed(page) if page.suffix == ".ipynb" else gone_through(page)
            print(page.name, json.dumps(found[page.name], indent=1), flush=True)
            asked.json.write_text(json.dumps(found, indent=1) + "\n")
    costs = ROOT / "docs/costs.md"
    text = pasted(costs.read_text(encoding="utf-8"), "tutorials", table(found))
    if text:
        costs.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
