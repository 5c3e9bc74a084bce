"""Reading and writing weights: lazily from safetensors, checked against the architecture before anything is merged."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mergebench.errors import CheckpointError, MergebenchError

StateDict: TypeAlias = dict[str, Tensor]


class SafetensorsState(Mapping[str, Tensor]):
    """A state dict that stays in its file: a tensor is read (memory-mapped) when it is asked for.

    Args:
        path: a `.safetensors` file.

    Raises:
        CheckpointError: missing, truncated, or another format (a pickle can run code when it is read: refused).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise CheckpointError(f"no such checkpoint: {self.path}")
        try:
            self._file = safe_open(str(self.path), framework="pt")
            self._names = tuple(self._file.keys())
        except (SafetensorError, OSError) as error:
            with self.path.open("rb") as file:
                start = file.read(2)
            # A zip archive (torch.save) or a bare pickle. Looked at only now: a safetensors file begins with the length
            # of its header, which can be these very bytes.
            if start == b"PK" or (start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")):
                raise CheckpointError(
                    f"{self.path} is a pickle, and reading a pickle can run any code in it: "
                    "convert it with safetensors.torch.save_file where you trust its source"
                ) from None
            raise CheckpointError(f"{self.path} is truncated or no safetensors file: {error}") from None

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape from the file's header, without reading the tensor."""
        return tuple(self._file.get_slice(name).get_shape())

    @property
    def metadata(self) -> dict[str, str]:
        """What the writer noted in the header."""
        return self._file.metadata() or {}


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    return state.shape(name) if isinstance(state, SafetensorsState) else tuple(state[name].shape)


def check_state(state: Mapping[str, Tensor], reference: Mapping[str, Tensor], who: str) -> None:
    """Hold a state dict to the names and shapes of the base, and to finite values.

    Args:
        state: the weights to check; read tensor by tensor.
        reference: the base's weights (or the architecture's: only names and shapes are used).
        who: what the state is, for the message ("expert 'mnist' (path)").

    Raises:
        CheckpointError: the first differing name with both shapes, or the first tensor that is not finite.
    """
    for name, expected in reference.items():
        if name not in state:
            raise CheckpointError(f"{who} lacks {name!r}, which is {tuple(expected.shape)} in the base")
        if _shape(state, name) != tuple(expected.shape):
            raise CheckpointError(
                f"{who}: {name!r} is {_shape(state, name)}, but {tuple(expected.shape)} in the base; "
                "is it an expert of another backbone?"
            )
    for name in state:
        if name not in reference:
            raise CheckpointError(f"{who} has {name!r} {_shape(state, name)}, which the base lacks")
    check_finite(state, who)


def check_finite(state: Mapping[str, Tensor], who: str) -> None:
    """Refuses, by a CheckpointError that names the first such tensor, weights that are NaN or infinite."""
    for name in state:
        tensor = state[name]
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(f"{who}: {name!r} holds {bad} values that are NaN or infinite")


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (first 16 hex digits) over names, dtypes, shapes and bytes, whatever file or order they are in."""
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # flatten: a view to bytes needs at least one dimension.
        sha.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()[:16]


def save_state(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors so that a reader sees the old file or the whole new one, never a part.

    Args:
        state: the weights.
        path: where to; its folder is made.
        metadata: text notes for the header.

    Raises:
        MergebenchError: the place cannot be written.
    """
    tensors = {n: t.detach().cpu().contiguous() for n, t in state.items()}
    path = Path(path)
    with writing(path) as temporary:
        save_file(tensors, temporary, metadata=dict(metadata or {}))


class writing:  # noqa: N801 (reads as a phrase: `with writing(path) as temporary`)
    """Give a temporary name beside `path`; rename it over `path` when the block ends well, remove it otherwise.

    Args:
        path: the file to appear whole.

    Raises:
        MergebenchError: the folder cannot be made or written, or the disk fills up.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        except OSError as error:
            raise MergebenchError(
                f"cannot write {self.path}: {error.strerror}; choose a folder you may write to"
            ) from None
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            # mkstemp makes files private; results are for everyone whom the umask admits.
            umask = os.umask(0)
            os.umask(umask)
            self.temporary.chmod(0o666 & ~umask)
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise MergebenchError(f"cannot write {self.path}: {error.strerror or error}") from None


def check_writable(path: str | Path) -> None:
    """Find out now, before any work, whether `path` can be written; what is there already stays as it is.

    Raises:
        MergebenchError: it cannot.
    """
    path = Path(path)
    if path.is_dir():
        raise MergebenchError(f"cannot write {path}: it is a folder; name a file in it")
    with writing(path.with_name(f".{path.name}.probe")):
        pass
    path.with_name(f".{path.name}.probe").unlink(missing_ok=True)  # another process may have probed beside this one
