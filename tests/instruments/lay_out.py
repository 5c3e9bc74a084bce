"""The packages as an installation lays them out, for tools that read packages where they lie.

Usage: python tests/instruments/lay_out.py FOLDER
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("methods", "tasks", "configs", "leaderboard")  # folders beside the engine's, and its sub-packages


def lay_out(folder: Path) -> Path:
    """Copy the sources of all packages into a folder, which is made anew; gives the package's own folder."""
    package = folder / "mergebench"
    shutil.rmtree(package, ignore_errors=True)
    sources_only = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png")
    shutil.copytree(ROOT / "mergebench", package, ignore=sources_only)
    for part in PARTS:
        shutil.copytree(ROOT / part, package / part, ignore=sources_only)
    return package


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
