"""Token streams of calibration images: in memory up to a limit, which no number of experts exceeds, then on disk."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO

import torch
from torch import Tensor

from mergebench.errors import MergebenchError

# Bytes of tokens that all streams of a merge hold in memory: those of 3,400 images of a ViT-B/32, 500 of a ViT-L/14.
HELD = 2**29


@dataclass(frozen=True)
class Place:
    """Where tokens lie in the file, in room for so many bytes, and what they are."""

    offset: int
    room: int
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


class Shelf:
    """What the streams of a merge share: so many bytes of memory, and a file without a name for whatever is more.

    Args:
        limit: bytes in memory.
    """

    def __init__(self, limit: int = HELD) -> None:
        self._left = limit
        self._file: FileIO | None = None
        self._end = 0

    def stream(self) -> "TokenStream":
        """A new stream, without tokens yet."""
        return TokenStream(self)

    def put(self, tokens: Tensor) -> Tensor | Place:
        """Tokens themselves, where memory is left for them; else the place in the file that they were written to."""
        if tokens.nbytes <= self._left:
            self._left -= tokens.nbytes
            return tokens
        place = Place(self._end, tokens.nbytes, tokens.shape, tokens.dtype, tokens.device)
        self._end += tokens.nbytes
        self.write(place, tokens)
        return place

    def replace(self, piece: Tensor | Place, tokens: Tensor) -> Tensor | Place:
        """Other tokens in the place of some, where there is room for them; elsewhere if not."""
        if isinstance(piece, Tensor):
            self._left += piece.nbytes
        elif tokens.nbytes <= piece.room:
            place = Place(piece.offset, piece.room, tokens.shape, tokens.dtype, tokens.device)
            self.write(place, tokens)
            return place
        return self.put(tokens)

    def write(self, place: Place, tokens: Tensor) -> None:
        """Put tokens into a place that has room for them.

        Raises:
            MergebenchError: there is no room on the disk.
        """
        try:
            file = self._file = self._file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the shelf)
            file.seek(place.offset)
            rest = tokens.cpu().contiguous().numpy().data.cast("B")
            while rest:  # a raw file may take less than it is given
                rest = rest[file.write(rest) :]
        except OSError as error:
            raise MergebenchError(
                f"tokens of calibration images do not fit into {tempfile.gettempdir()} ({self._end / 1e9:.1f} GB so "
                f"far: {error.strerror}); name a folder with room in TMPDIR, or take fewer samples"
            ) from error

    def read(self, place: Place) -> Tensor:
        """What was written there last."""
        assert self._file is not None  # in which the place is
        tokens = torch.empty(place.shape, dtype=place.dtype)
        rest = tokens.numpy().data.cast("B")
        self._file.seek(place.offset)
        while rest:
            rest = rest[self._file.readinto(rest) :]
        return tokens.to(place.device)


class TokenStream:
    """Batches of tokens [B, N, D], or maps [B, C, H, W], of one task's images, each of which may be replaced by others.

    Args:
        shelf: where they lie.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._pieces: list[Tensor | Place] = []
        self.images = 0  # of all batches

    def append(self, tokens: Tensor) -> None:
        """Add a batch."""
        self._pieces.append(self._shelf.put(tokens))
        self.images += len(tokens)

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Tensor:
        piece = self._pieces[index]
        return self._shelf.read(piece) if isinstance(piece, Place) else piece

    def __setitem__(self, index: int, tokens: Tensor) -> None:
        self._pieces[index] = self._shelf.replace(self._pieces[index], tokens)

    def keep(self, index: int, tokens: Tensor) -> None:
        """Have tokens as batch `index`: in place of what it was, or behind the last one."""
        if index == len(self):
            self.append(tokens)
        else:
            self[index] = tokens
