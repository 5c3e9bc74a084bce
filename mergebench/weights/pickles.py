"""Weights in torch's pickles that need no code."""

import mmap
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mergebench.errors import CheckpointError, tell
from mergebench.weights.containers import state_dict_in
from mergebench.weights.footing import rests_on
from mergebench.weights.harmless import HARMLESS
from mergebench.weights.states import AGAIN, LazyState

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pt.tar", ".pth.tar")
PICKLE = 16 * 2**20  # bytes of names, shapes and settings; of no more than a byte each it may make objects of 60
MAPPED = 16 * 2**20  # bytes of a mapped pickle that may stay in memory when nobody needs them any more


class PickledState(LazyState):
    """A state dict in a torch pickle, memory-mapped, read without running any code in it.

    Args:
        path: written by `torch.save`: a state dict, or one in a container (`containers.state_dict_in`).

    Raises:
        CheckpointError: missing, truncated, TorchScript, several state dicts of one rank, or more than tensors in one.
    """

    path: Path

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise CheckpointError(f"no such checkpoint: {self.path}")
        rests_on(self.path)
        self._version = self._stat()
        if told := self._map():
            tell(told)
        super().__init__(self._tensors, self.path, {})

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        self._touched += tensor.nbytes if tensor.layout == torch.strided else 0
        # Pages that were read stay in memory as long as the map; a new one has none.
        if self._mapped and self._touched > MAPPED:
            self._map()
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._tensors[name].shape)

    def _stat(self) -> tuple[int, int, int]:
        now = os.stat(self.path)
        return now.st_ino, now.st_size, now.st_mtime_ns

    def _map(self) -> str:
        """Map the file's tensors; gives what is to be told of the choice among several state dicts."""
        if self._stat() != self._version:
            raise CheckpointError(f"{self.path} changed while it was read")
        self._touched = 0
        self._mapped = False
        try:
            self._mapped = zipfile.is_zipfile(self.path)  # of some broken archives this is an error
            if self._mapped:
                _check_archive(self.path)
            # torch warns of protocols and of sparse tensors, where a refusal, or nothing, says more.
            with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings(action="ignore"):
                read = torch.load(self.path, map_location="cpu", weights_only=True, mmap=self._mapped)
        except CheckpointError:
            raise
        except pickle.UnpicklingError as error:
            raise CheckpointError(self._refusal(str(error))) from None
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror or error}") from None
        except Exception:  # whatever a broken file makes torch's readers stumble over
            raise CheckpointError(self._broken()) from None
        if not isinstance(read, Mapping):
            raise CheckpointError(f"{self.path} holds something of type {type(read).__name__}, not a state dict")
        read, told = state_dict_in(read, str(self.path))
        self._tensors = {name: tensor.detach() for name, tensor in read.items()}
        return told

    def _broken(self) -> str:
        """The refusal; torch's own words would advise to run a pickle's code."""
        return f"{self.path} is truncated or no torch pickle; {AGAIN}"

    def _refusal(self, told: str) -> str:
        needed = re.search(r"GLOBAL ([\w.]+)", told)
        if needed is None or not self._holds(needed[1]):
            return self._broken()
        return (
            f"{self.path} needs {needed[1]} to be read, and a pickle's code is never run: "
            "convert its state dict with safetensors.torch.save_file where you trust its source"
        )

    def _holds(self, name: str) -> bool:
        """Whether the file holds this name of code whole; where it was cut off in one, torch tells the half."""
        if "." not in name:  # Python's own, without their module: called __builtin__ in older pickles
            return any(self._holds(f"{module}.{name}") for module in ("__builtin__", "builtins"))
        module, _, function = (part.encode() for part in name.rpartition("."))
        if not (module and function):
            return False
        counted = [bytes([len(part) % 256]) + part for part in (module, function)]  # as newer pickles write texts
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            opcode = b"c" + module + b"\n" + function + b"\n"
            return content.find(opcode) >= 0 or all(content.find(part) >= 0 for part in counted)


def _check_archive(path: Path) -> None:
    """Refuses, by a CheckpointError, an archive of code, and one that unpacks to more than it is."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    if any(record.filename.rpartition("/")[2] == "constants.pkl" for record in records):
        raise CheckpointError(
            f"{path} is a TorchScript archive, which is code: where you trust its source, save "
            "torch.jit.load(path).state_dict() with safetensors.torch.save_file, and use that file"
        )
    packed = next((record for record in records if record.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise CheckpointError(
            f"{path} holds {packed.filename!r} compressed, which torch.save does not do: unpacked it may be of any "
            f"size; {AGAIN}"
        )
    large = next((r for r in records if r.filename.endswith("/data.pkl") and r.file_size > PICKLE), None)
    if large is not None:
        raise CheckpointError(
            f"{path} holds {large.file_size:,} bytes beside its tensors; {PICKLE:,} are read at most: save the state "
            "dict alone, with safetensors.torch.save_file, where you trust its source"
        )
