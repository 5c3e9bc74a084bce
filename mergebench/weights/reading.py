"""Reading small files that anybody may have written: plain files, and no more of one than its kind ever has."""

import os
import stat
from pathlib import Path

BYTES = 10_000_000  # of a configuration, or an index of shards: those of the largest models have a tenth of it


def plain_bytes(path: Path, longest: int = BYTES) -> bytes:
    """A file's content.

    Args:
        path: the file.
        longest: bytes that are read of it.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more, or is no plain file (a pipe would be waited for, a device never end).
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no plain file")
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"it has more than {longest:,} bytes")
    return content


def plain_text(path: Path, longest: int = BYTES) -> str:
    """A file's content as UTF-8; raises as `plain_bytes` does, and a UnicodeDecodeError, which is a ValueError too."""
    return plain_bytes(path, longest).decode("utf-8")
