"""Reading and writing weights: lazily from safetensors, checked against the architecture before anything is merged."""

import hashlib
import json
import os
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mergebench.errors import CheckpointError
from mergebench.weights.footing import rests_on
from mergebench.weights.writing import writing

StateDict: TypeAlias = dict[str, Tensor]

HEADER = 8_000_000  # bytes of a file's header: a thousand tensors take a tenth of one million

AGAIN = "delete it, and download or copy it again"  # the remedy for a file that is not whole

# What weights may be in: other numbers (complex, quantised, of 8 bits) would lose something on the way to these.
FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

# As safetensors' headers name them.
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class LazyState(Mapping[str, Tensor]):
    """A state dict whose names and shapes are known before any tensor is read.

    Args:
        names: its tensors, in order.
        path: the file they are in, if any.
        metadata: what the writer noted in the file.
    """

    def __init__(self, names: Iterable[str], path: Path | None, metadata: Mapping[str, str]) -> None:
        self._names = dict.fromkeys(names)
        self.path = path
        self.metadata = dict(metadata)
        self.known_digest = ""  # of all tensors, once they have been read to be checked

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading the tensor."""
        raise NotImplementedError

    # Mapping's own would read the tensor.
    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class SafetensorsState(LazyState):
    """A state dict that stays in its file: a tensor is read when it is asked for, and its memory is its own.

    It is read, not memory-mapped: pages of a map count as this process's memory for as long as the map lives, and
    twenty experts' maps live through a whole merge. The file that was opened is held on to: one that takes its place
    later is not seen.

    Args:
        path: a `.safetensors` file.

    Raises:
        CheckpointError: missing, truncated, or another format (a pickle can run code when it is read: refused).
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder; name a checkpoint in it")
        if not path.is_file():
            raise CheckpointError(f"no such checkpoint: {path}")
        rests_on(path)
        try:
            _check_header(path)
            with safe_open(str(path), framework="pt") as file:  # holds the header to the file's length
                names, metadata = file.keys(), file.metadata() or {}
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
        except SafetensorError as error:
            with path.open("rb") as file:
                start = file.read(2)
            # A zip archive (torch.save) or a bare pickle. Looked at only now: a safetensors file begins with the length
            # of its header, which can be these very bytes.
            if start == b"PK" or (start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")):
                raise CheckpointError(
                    f"{path} is a pickle, and reading a pickle can run any code in it: "
                    "convert it with safetensors.torch.save_file where you trust its source"
                ) from None
            raise CheckpointError(f"{path} is truncated or no safetensors file ({error}); {AGAIN}") from None
        weakref.finalize(self, os.close, self._file)
        super().__init__(names, path, metadata)
        length = int.from_bytes(os.pread(self._file, 8, 0), "little")
        self._start = 8 + length
        self._header = json.loads(os.pread(self._file, length, 8))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        entry = self._header[name]
        if entry["dtype"] not in DTYPES:
            raise CheckpointError(f"{self.path}: {name!r} is of type {entry['dtype']}, which cannot be merged")
        tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
        # flatten: a view to bytes needs at least one dimension.
        left = tensor.flatten().view(torch.uint8).numpy().data
        position = self._start + entry["data_offsets"][0]
        while left:
            count = os.preadv(self._file, [left], position)  # at most 2 GiB a call
            if count == 0:
                raise CheckpointError(f"{self.path} was cut short while it was read; its {name!r} is not whole")
            left, position = left[count:], position + count
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape from the file's header."""
        return tuple(self._header[name]["shape"])


def _check_header(path: Path) -> None:
    """Refuses, by a CheckpointError, a header that takes a gigabyte to be read: of a hundred million bytes names."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if HEADER < length < path.stat().st_size:  # others are no header, as what reads them will tell
        raise CheckpointError(f"{path} has a header of {length:,} bytes; {HEADER:,} are read at most: {AGAIN}")


def recipe_of(state: Mapping[str, Tensor] | nn.Module) -> dict[str, Any]:
    """What this project notes in the header of a file that it writes; nothing where another program wrote it.

    Args:
        state: what was read from the file: weights, or a head.
    """
    try:
        recipe = json.loads(getattr(state, "metadata", {}).get("recipe", "{}"))
    except (ValueError, RecursionError):
        return {}
    return recipe if isinstance(recipe, dict) else {}


def path_of(state: Mapping[str, Tensor]) -> Path | None:
    """The file that a state dict is in, if it is in one."""
    return state.path if isinstance(state, LazyState) else None


def shape_of(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """A tensor's shape, without reading the tensor where the state can tell."""
    return state.shape(name) if hasattr(state, "shape") else tuple(state[name].shape)


def check_state(
    state: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    who: str,
    whose: str = "the base",
    hint: str = "is it an expert of another backbone, patch or image size?",
) -> None:
    """Hold a state dict to the names and shapes of the base, and to finite values.

    Args:
        state: the weights to check; read tensor by tensor.
        reference: the base's weights (or the architecture's: only names and shapes are used).
        who: what the state is, for the message ("expert 'mnist' (path)").
        whose: what the reference is of.
        hint: the likeliest reason why names or shapes differ, or the remedy.

    Raises:
        CheckpointError: the first differing name with both shapes, or the first tensor that is not finite.
    """
    floating = set()
    for name, expected in reference.items():
        if expected.is_floating_point():
            floating.add(name)
        if name not in state:
            raise CheckpointError(f"{who} lacks {name!r}, which is {tuple(expected.shape)} in {whose}; {hint}")
        if shape_of(state, name) != tuple(expected.shape):
            raise CheckpointError(
                f"{who}: {name!r} is {shape_of(state, name)}, but {tuple(expected.shape)} in {whose}; {hint}"
            )
    for name in state:
        if name not in reference:
            raise CheckpointError(f"{who} has {name!r} {shape_of(state, name)}, which {whose} lacks; {hint}")
    check_finite(state, who, floating=floating)


def _check_kind(name: str, tensor: Tensor, who: str, floating: bool) -> None:
    """Refuses, by a CheckpointError, a tensor that is no plain one of numbers that can be merged."""
    if tensor.is_meta:
        raise CheckpointError(f"{who}: {name!r} has a shape and no values (as on the device meta); save it with them")
    integer = not (floating or tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)
    if tensor.layout != torch.strided or not (integer or tensor.dtype in FLOATING):
        kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")
        raise CheckpointError(
            f"{who}: {name!r} is {kind}, which cannot be merged; save it in float32, where that says the same"
        )


def check_finite(
    state: Mapping[str, Tensor], who: str, remedy: str = "", floating: Collection[str] = frozenset()
) -> None:
    """Refuses, by a CheckpointError that names the first such tensor, weights that are NaN, infinite or no plain ones.

    What is in a file is hashed in the same reading: of twenty experts of a ViT-L/14 another one is 24 GB.

    Args:
        state: the weights.
        who: what they are, for the message.
        remedy: what to do about what is not finite, if that is known.
        floating: the tensors that must be of floating-point numbers.
    """
    hashing = isinstance(state, LazyState)
    sha = hashlib.sha256()
    for name in sorted(state) if hashing else state:
        tensor = state[name]
        _check_kind(name, tensor, who, name in floating)
        if bad := count_not_finite(tensor):
            hint = f"; {remedy}" if remedy else ""
            raise CheckpointError(f"{who}: {name!r} holds {bad} values that are NaN or infinite{hint}")
        if hashing:
            _add(sha, name, tensor)
    if isinstance(state, LazyState):
        state.known_digest = _digits(sha)


def in_dtypes_of(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> StateDict:
    """A merged state in the base's number formats, tensor by tensor.

    Args:
        state: the weights, as they were computed.
        like: the base's; read tensor by tensor.

    Raises:
        CheckpointError: a value that is too large for its format.
    """
    made = {name: tensor.to(like[name].dtype) for name, tensor in state.items()}
    for name, tensor in made.items():
        if count_not_finite(tensor):
            raise CheckpointError(
                f"the merged {name!r} has values that are too large for {str(tensor.dtype).removeprefix('torch.')}, "
                "the base's number format; give a base in float32"
            )
    return made


def count_not_finite(tensor: Tensor) -> int:
    """How many values are NaN or infinite."""
    # One such value makes a sum NaN or infinite; so may overflow, hence the second look.
    if not tensor.is_floating_point() or tensor.sum().isfinite():
        return 0
    return int((~torch.isfinite(tensor)).sum())


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (first 16 hex digits) over names, dtypes, shapes and bytes, whatever file or order they are in."""
    if isinstance(state, LazyState) and state.known_digest:
        return state.known_digest
    sha = hashlib.sha256()
    for name in sorted(state):
        _add(sha, name, state[name])
    return _digits(sha)


def _add(sha: "hashlib._Hash", name: str, tensor: Tensor) -> None:
    tensor = tensor.detach().cpu().contiguous()
    sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    # flatten: a view to bytes needs at least one dimension.
    sha.update(tensor.flatten().view(torch.uint8).numpy().data)


def _digits(sha: "hashlib._Hash") -> str:
    return sha.hexdigest()[:16]


def save_state(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors so that a reader sees the old file or the whole new one, never a part.

    Args:
        state: the weights.
        path: where to; its folder is made.
        metadata: text notes for the header.

    Raises:
        MergebenchError: the place cannot be written, or the disk fills up.
    """
    tensors: StateDict = {}
    held: set[int] = set()  # where memory begins: a file has no way to say that two tensors are one
    for name, tensor in state.items():
        tensors[name] = tensor.detach().cpu().contiguous()
        start = tensors[name].untyped_storage().data_ptr()
        if start in held:
            tensors[name] = tensors[name].clone()
        held.add(start)
    path = Path(path)
    with writing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=dict(metadata or {}))
        except SafetensorError as error:  # as its writer calls a full disk
            raise OSError(str(error)) from None
