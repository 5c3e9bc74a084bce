"""JSON that proves to be what was written: small files of caches, each with a checksum; known without torch."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mergebench.weights.reading import plain_bytes
from mergebench.weights.writing import put_aside, writing


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 (16 hex digits) of a JSON object without its own `checksum`, however it is laid out in the file."""
    told = {name: value for name, value in content.items() if name != "checksum"}
    return sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of a cache, whatever lies in its place.

    Raises:
        MergebenchError: the place cannot be written.
    """
    put_aside(path)
    with writing(path) as temporary:
        temporary.write_text(json.dumps({**content, "checksum": checksum(content)}), encoding="utf-8")


def read_sealed(path: Path) -> dict[str, Any]:
    """What such a file holds; nothing where there is none, or one that was damaged.

    Without a checksum, as earlier versions wrote them, it is taken as it is.
    """
    try:
        content = json.loads(plain_bytes(path))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or ("checksum" in content and content["checksum"] != checksum(content)):
        return {}
    return content
