"""Where a method's images come from: batches handed in explicitly, or a seeded draw from a suite's split."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mergebench.errors import MergebenchError
from mergebench.weights.states import count_not_finite

Batch = tuple[Tensor, Tensor | None]


class ImageSource(Protocol):
    """What the pool asks of a task's images."""

    def once(self, samples: int, batch_size: int) -> Iterator[Batch]:
        """`samples` images, each once, as (images float [B, 3, H, W], labels int64 [B] or None)."""

    def forever(self, batch_size: int) -> Iterator[Batch]:
        """Batches without end, reshuffled on every pass."""


class Rows(Protocol):
    """Images that can be read by their indices."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Images uint8 [M, H, W, 3] of these indices, int64 [M]."""


class ExplicitBatches:
    """Batches of the caller's own: all are used, in the order given, whatever a method's `samples` says.

    Args:
        batches: tensors [B, 3, H, W], or pairs (images, labels [B]); read once and kept.
        task: whose they are, for messages.
    """

    def __init__(self, batches: Iterable[Tensor | Batch], task: str) -> None:
        self._batches = [b if isinstance(b, (tuple, list)) else (b, None) for b in batches]
        if not self._batches:
            raise MergebenchError(f"the batches of task {task!r} are empty")
        for images, _ in self._batches:
            if not isinstance(images, Tensor) or images.ndim != 4:
                shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
                raise MergebenchError(f"a batch of task {task!r} is {shape}; expected images [B, 3, H, W]")
            if not len(images):
                raise MergebenchError(f"a batch of task {task!r} is empty")
            if count_not_finite(images):
                raise MergebenchError(f"a batch of task {task!r} holds values that are NaN or infinite")

    def once(self, samples: int, batch_size: int) -> Iterator[Batch]:
        """All batches, in the order given."""
        yield from self._batches

    def forever(self, batch_size: int) -> Iterator[Batch]:
        """All batches in the order given, again and again."""
        while True:
            yield from self.once(0, 0)


class JoinedImages:
    """Several arrays of images as one, [N, H, W, 3], from which rows are read: none is copied but those.

    Args:
        arrays: uint8 [N_i, H, W, 3] each, possibly memory-mapped, of one height and width.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = list(arrays)
        self._ends = np.cumsum([len(array) for array in self._arrays])
        sides = {array.shape[1:] for array in self._arrays}
        if len(sides) > 1:
            raise MergebenchError(f"images of different sizes are no one set: {', '.join(map(str, sorted(sides)))}")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        made = np.empty((len(rows), *self._arrays[0].shape[1:]), dtype=self._arrays[0].dtype)
        owners = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owners):
            here = owners == number
            made[here] = self._arrays[number][rows[here] - self._ends[number] + len(self._arrays[number])]
        return made


class DrawnImages:
    """A seeded draw without replacement from arrays of decoded images.

    Args:
        images: uint8 [N, H, W, 3], possibly memory-mapped, or whatever gives its rows.
        labels: int64 [N], or None where images are not given under their own task's name.
        mean, std: per channel, of images scaled to [0, 1].
        task: the task's name; it and the seed decide the draw, so that every method sees the same images.
        seed: the run's seed.
        candidates: indices of the images that may be drawn; all, if None.
    """

    def __init__(
        self,
        images: Rows,
        labels: np.ndarray | None,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        task: str,
        seed: int,
        candidates: np.ndarray | None = None,
    ) -> None:
        self._images, self._labels = images, labels
        self._candidates = np.arange(len(images)) if candidates is None else candidates
        self._mean, self._std = mean, std
        self._task, self._seed = task, seed
        self.drawn: np.ndarray = np.empty(0, dtype=np.int64)

    def _order(self, epoch: int = 0) -> np.ndarray:
        entropy = hashlib.sha256(f"{self._task}|{self._seed}|{epoch}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(entropy, dtype=np.uint32))
        return self._candidates[rng.permutation(len(self._candidates))]

    def _batch(self, indices: np.ndarray) -> Batch:
        self.drawn = np.union1d(self.drawn, indices)
        ordered = np.sort(indices)  # a memory map is read front to back
        images = normalise(torch.from_numpy(self._images[ordered]), self._mean, self._std)
        return images, None if self._labels is None else torch.from_numpy(self._labels[ordered])

    def once(self, samples: int, batch_size: int) -> Iterator[Batch]:
        """Exactly `samples` images: the first of a seeded order, so a smaller draw is part of a larger one.

        Raises:
            MergebenchError: more are asked for than there are.
        """
        if samples > len(self._candidates):
            raise MergebenchError(
                f"samples={samples}, but task {self._task!r} has {len(self._candidates)} calibration images; "
                "ask for fewer"
            )
        chosen = self._order()[:samples]
        for start in range(0, samples, batch_size):
            yield self._batch(chosen[start : start + batch_size])

    def forever(self, batch_size: int) -> Iterator[Batch]:
        """Full batches without end; every pass over the split has an order of its own."""
        size = min(batch_size, len(self._candidates))
        epoch = 0
        while True:
            order = self._order(epoch)
            for start in range(0, len(order) - size + 1, size):
                yield self._batch(order[start : start + size])
            epoch += 1

    def __len__(self) -> int:
        return len(self._candidates)

    @property
    def fingerprint(self) -> str:
        """Hash of the indices drawn so far; empty if none were."""
        return hashlib.sha256(self.drawn.astype("<i8").tobytes()).hexdigest()[:16] if len(self.drawn) else ""


class MixedImages:
    """Images of several tasks as those of one: what the merged model so far stands for when tasks arrive in sequence.

    Args:
        sources: one per task.
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self._sources = list(sources)

    def once(self, samples: int, batch_size: int) -> Iterator[Batch]:
        """Exactly `samples` images, as evenly from the tasks as the number allows; labels mean nothing across tasks."""
        share, rest = divmod(samples, len(self._sources))
        counts = (share + (number < rest) for number in range(len(self._sources)))
        parts = (source.once(n, batch_size) for source, n in zip(self._sources, counts, strict=True) if n)
        yield from _joined((images for part in parts for images, _ in part), batch_size)

    def forever(self, batch_size: int) -> Iterator[Batch]:
        """Full batches without end, each as evenly from the tasks as its size allows."""
        share = max(1, batch_size // len(self._sources))
        turns = itertools.cycle([source.forever(share) for source in self._sources])
        yield from _joined((next(stream)[0] for stream in turns), batch_size)


def _joined(parts: Iterable[Tensor], batch_size: int) -> Iterator[Batch]:
    """Images [B, 3, H, W] in batches of one size, the last perhaps smaller, as those of any one task are."""
    held: list[Tensor] = []
    for images in parts:
        held.append(images)
        while sum(map(len, held)) >= batch_size:
            everything = torch.cat(held)
            yield everything[:batch_size], None
            held = [everything[batch_size:]]
    if sum(map(len, held)):
        yield torch.cat(held), None


def normalise(images: Tensor, mean: tuple[float, ...] | Tensor, std: tuple[float, ...] | Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W], scaled to [0, 1], minus mean, over std (per channel)."""
    scaled = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    shape = (1, -1, 1, 1)
    centre, spread = (torch.as_tensor(given, device=images.device).view(shape) for given in (mean, std))
    return ((scaled - centre) / spread).contiguous()
