"""Weights in files: safetensors, pickles that need no code, and either in several shards."""

import json
from pathlib import Path

from torch import Tensor

from mergebench.errors import CheckpointError, on_one_line
from mergebench.weights.adapters import ADAPTER, AdapterState, adapter_in
from mergebench.weights.footing import rests_on
from mergebench.weights.pickles import PICKLES, PickledState
from mergebench.weights.reading import plain_bytes
from mergebench.weights.states import AGAIN, LazyState, SafetensorsState

INDEX = ".index.json"
LONGEST_PATH = 200  # characters of a path that cannot be one


def open_weights(path: str | Path) -> LazyState:
    """A file's state dict, under the names that it has there; tensors are read when they are asked for.

    Args:
        path: `.safetensors`, a torch pickle (`.bin`, `.pt`, `.pth`, `.ckpt`, `.pth.tar`), an index of shards
            (`.index.json`), or the folder of a LoRA adapter or a file in it (`AdapterState`).

    Raises:
        CheckpointError: missing, truncated, of another format, or a pickle that needs code to be read.
    """
    path = Path(path)
    try:
        path.exists()
    except OSError as error:  # longer than a name may be, or in a folder that is closed
        raise CheckpointError(f"cannot read {on_one_line(path, LONGEST_PATH)}: {error.strerror}") from None
    if path.name in ADAPTER or (path.is_dir() and adapter_in(path)):
        return AdapterState(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name a checkpoint in it")
    if path.name.endswith(INDEX):
        return ShardedState(path)
    if path.name.endswith(PICKLES):
        return PickledState(path)
    if path.suffix == ".safetensors":
        return SafetensorsState(path)
    known = ", ".join((".safetensors", *PICKLES, INDEX))
    raise CheckpointError(f"{path}: weights are in files whose names end in {known}")


class ShardedState(LazyState):
    """A state dict in several files.

    Args:
        path: the index beside the files, as Hugging Face's libraries write it.

    Raises:
        CheckpointError: no such index or file, or index and files do not agree.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"no such checkpoint: {path}")
        rests_on(path)
        named = _shard_of(path)
        shards = {file: open_weights(path.parent / file) for file in dict.fromkeys(named.values())}
        for file, shard in shards.items():
            listed = {name for name, where in named.items() if where == file}
            odd = next((name for name in (*listed, *shard) if (name in listed) != (name in shard)), None)
            if odd is not None:
                has, lacks = (path, shard.path) if odd in listed else (shard.path, path)
                raise CheckpointError(f"{has} has {odd!r}, which {lacks} lacks")
        self._shards = {name: shards[file] for name, file in named.items()}
        super().__init__(named, path, next((shard.metadata for shard in shards.values()), {}))

    def __getitem__(self, name: str) -> Tensor:
        return self._shards[name][name]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, as its shard knows it."""
        return self._shards[name].shape(name)


def shards_of(path: Path) -> tuple[str, ...]:
    """The names of the files that a checkpoint needs beside its own: of none, but where it is an index of shards.

    Raises:
        CheckpointError: an index that is broken.
    """
    return tuple(dict.fromkeys(_shard_of(path).values())) if path.name.endswith(INDEX) else ()


def _shard_of(index: Path) -> dict[str, str]:
    """Tensor -> the name of the file that it is in."""
    try:
        files = json.loads(plain_bytes(index))["weight_map"]
        named = {name: Path(file).name for name, file in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{index} is truncated or no index of shards (it has no weight_map); {AGAIN}") from None
    odd = next((file for name, file in files.items() if file != named[name] or file.endswith(INDEX)), None)
    if odd is not None:
        raise CheckpointError(f"{index}: {odd!r} is no shard in the index's own folder")
    return named
