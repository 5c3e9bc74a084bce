"""Amounts of memory, and of time, as people write them."""

import re

from mergebench.errors import MergebenchError

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def in_bytes(text: str) -> int:
    """`8GB` -> 8_000_000_000.

    Raises:
        MergebenchError: no number of bytes.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(\w+)", text.strip())
    if not found or found[2] not in UNITS or not float(found[1]):
        raise MergebenchError(f"{text!r} is no amount of memory; write it as 8GB or 500MB ({', '.join(UNITS)})")
    return int(float(found[1]) * UNITS[found[2]])


def in_time(seconds: float) -> str:
    """Seconds as one says them: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
