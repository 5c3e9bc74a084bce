"""What several devices are given to work on: objects that other processes can be handed, however large they are."""

import io
import mmap
import pickle
from typing import Any

import numpy as np

from mergebench.measuring.trainer import quiet_lightning


class Portable:
    """Mixed in first: the object is handed to another process as bytes, its memory-mapped arrays by their files' names.

    Tensors would go through shared memory otherwise, of which containers have little, with an open file for each; and a
    memory-mapped array would be read whole.
    """

    def __getstate__(self) -> dict[str, bytes]:
        buffer = io.BytesIO()
        _Pickler(buffer).dump(super().__getstate__())
        return {"portable": buffer.getvalue()}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        quiet_lightning()  # a process of its own has to be told what not to say, before it says it
        restored = pickle.loads(state["portable"])
        over = getattr(super(), "__setstate__", self.__dict__.update)
        over(restored)


class _Pickler(pickle.Pickler):
    def reducer_override(self, given: Any) -> Any:
        # A part of a map has the whole map's offset: it is written like any other array.
        if isinstance(given, np.memmap) and isinstance(given.base, mmap.mmap):
            order = "C" if given.flags.c_contiguous else "F"
            return np.memmap, (given.filename, given.dtype, "r", given.offset, given.shape, order)
        return NotImplemented
