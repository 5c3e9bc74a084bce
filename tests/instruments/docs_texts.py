"""The project's texts for readers, and the commands that they show."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}


def blocks(language: str) -> list:
    """Every block of code of a language, as parameters that are called after their page and number."""
    return [
        pytest.param(block, id=f"{name}-{number}")
        for name, text in TEXTS.items()
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))
    ]


def commands() -> list[list[str]]:
    """Every line that calls the program, in words."""
    lines = [line for param in blocks("sh") for line in param.values[0].replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"mergebench\s+\w", line)]
