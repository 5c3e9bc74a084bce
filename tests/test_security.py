"""What SECURITY.md says: bounds are those of the code, and what is said to hold it is there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
# The last number before a constant is what it is.
BOUNDS = re.findall(r"(\d[\d,]*)[^`\d]*\(?`(mergebench/[\w/]+\.py): (\w+)`", " ".join(TEXT.split()))


def test_every_bound_is_found():
    assert len(BOUNDS) == len(re.findall(r"`mergebench/[\w/]+\.py: \w+`", TEXT)) > 15


@pytest.mark.parametrize(("told", "file", "name"), sorted(set(BOUNDS)))
def test_bounds_are_the_code_s(told, file, name):
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert getattr(module, name) == int(told.replace(",", ""))


def test_every_promise_of_a_table_names_a_test_that_is_there():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| what |")]
    rows = [row for row in rows if not row.startswith("| file |")]
    assert len(rows) > 12
    for row in rows:
        assert re.search(r"`tests/[\w/]+\.py` \|$", row), row
    for file in re.findall(r"`((?:tests|mergebench)/[\w/]+\.py)", TEXT):
        assert (ROOT / file).is_file(), file


def test_it_is_linked():
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "](SECURITY.md)" in (ROOT / name).read_text(), name
