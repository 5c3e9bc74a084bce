"""Amounts of memory: units, and what is none."""

import pytest

from mergebench.cli.amounts import in_bytes
from mergebench.errors import MergebenchError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8 * 10**9), ("8 GB", 8 * 10**9), ("500MB", 5 * 10**8), ("1.5GiB", 3 * 2**29), (" 64kB ", 64_000)],
)
def test_amounts_of_memory(text, expected):
    assert in_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "8", "GB", "8gb", "eight GB", "-8GB", "0GB", "8GB extra", "nanGB", "8 bananas"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(MergebenchError, match="write it as 8GB"):
        in_bytes(text)
