"""Leases (to be replaced)."""

import os
from pathlib import Path


class Leases:
    def __init__(self, folder: Path, ttl: float = 120.0) -> None:
        self._folder = Path(folder)
        self.held: set[str] = set()

    def claim(self, name: str) -> bool:
        if name in self.held:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(self._folder / f"{name}.lease", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        self.held.add(name)
        return True

    def release(self, name: str) -> None:
        if name in self.held:
            self.held.discard(name)
            (self._folder / f"{name}.lease").unlink()

    def close(self) -> None:
        for name in list(self.held):
            self.release(name)

    def __enter__(self) -> "Leases":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
