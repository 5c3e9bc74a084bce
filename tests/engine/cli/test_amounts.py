"""Amounts of memory: units, and what is none."""

import pytest

from mergebench.cli.amounts import in_bytes, in_time
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


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (754, "13 min"), (3599, "1 h 00 min"), (12_000, "3 h 20 min")],
)
def test_times(seconds, told):
    assert in_time(seconds) == told
