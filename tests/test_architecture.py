"""The arrows between the parts, as pyproject.toml states them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_imports_follow_the_declared_arrows(tmp_path):
    """import-linter reads packages where they lie, so they are laid out here as an installation lays them out."""
    package = tmp_path / "mergebench"
    sources_only = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(ROOT / "mergebench", package, ignore=sources_only)
    for part in ("methods", "tasks", "configs", "leaderboard"):
        shutil.copytree(ROOT / part, package / part, ignore=sources_only)
    command = [
        str(Path(sys.executable).parent / "lint-imports"),
        "--config",
        str(ROOT / "pyproject.toml"),
        "--no-cache",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_python_file_passes_400_lines():
    lengths = {
        str(p.relative_to(ROOT)): len(p.read_text().splitlines())
        for folder in ("mergebench", "methods", "tasks", "leaderboard", "tests", "benchmarks")
        for p in (ROOT / folder).rglob("*.py")
    }
    assert {p: n for p, n in lengths.items() if n > 400} == {}
