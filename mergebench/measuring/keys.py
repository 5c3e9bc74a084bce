"""What makes a cell another cell."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SCHEMA_VERSION: Final = 1  # of results, and with it of keys


@dataclass(frozen=True)
class CellKey:
    """The identity of a cell: with the same packages on one machine, the same key is the same result, bit for bit."""

    method: str
    source: str
    starts: Mapping[str, str]
    hyperparameters: Mapping[str, Any]
    suite: str
    study: str
    zoo: str
    variant: str
    conditions: Mapping[str, Any]
    seed: int
    weights: Mapping[str, str]
    data: Mapping[str, str]
    device: str

    @property
    def digest(self) -> str:
        """The key's SHA-256, first 12 hex digits."""
        text = json.dumps([SCHEMA_VERSION, vars(self)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
