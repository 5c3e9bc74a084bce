"""What an encoder is trained on: tasks' images, dealt out step by step, to one device or to several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mergebench.seeds import generator
from mergebench.training.augmentation import AUGMENTATIONS
from mergebench.weights.states import digest


@dataclass(frozen=True)
class TrainingSet:
    """One task to train on.

    Args:
        head: its frozen classifier, features [B, width] -> logits [B, classes].
        images: uint8 [N, H, W, C]; an array may be memory-mapped, and only a step's images are read from it.
        labels: integers [N].
        digest: of images and labels, where it is known already.
    """

    head: nn.Module
    images: np.ndarray | Tensor
    labels: np.ndarray | Tensor
    digest: str = ""

    @property
    def identity(self) -> str:
        """Tells these images and labels from any others: their digest, computed if it is not known."""
        both = {"images": self.images, "labels": self.labels}
        return self.digest or digest({name: torch.tensor(np.asarray(array)) for name, array in both.items()})


class Stream:
    """An endless stream of shuffled passes over one task, read at any place.

    A function of the seed and the place alone, so that a resumed run loses and repeats no image.

    Args:
        data: the task.
        batch_size: images of this task per step.
        seed: of the order.
    """

    def __init__(self, data: TrainingSet, batch_size: int, seed: int) -> None:
        self.images, self.labels, self.batch_size, self.seed = data.images, data.labels, batch_size, seed

    def batch(self, step: int, places: range) -> tuple[Tensor, Tensor]:
        """The images uint8 [B, H, W, C] and labels int64 [B] at some places of a step's share."""
        chosen = [self._drawn(step * self.batch_size + place) for place in places]
        return torch.as_tensor(self.images[chosen]), torch.as_tensor(self.labels[chosen]).long()

    def _drawn(self, position: int) -> int:
        """The image at a position of an endless stream of shuffled passes over the data."""
        epoch, place = divmod(position, len(self.images))
        if getattr(self, "_epoch", None) != epoch:
            drawing = generator(self.seed * 1_000_003 + epoch)
            self._epoch = epoch
            self._order: list[int] = torch.randperm(len(self.images), generator=drawing).tolist()
        return self._order[place]


def make_streams(sets: Sequence[TrainingSet], batch_size: int, seed: int) -> list[Stream]:
    """A stream per task, the batch dealt out to the tasks as evenly as it goes."""
    shares = [batch_size // len(sets) + (i < batch_size % len(sets)) for i in range(len(sets))]
    # Tasks of one size must not be gone through in one order, which the first would otherwise lend to all.
    return [Stream(one, n, seed + 7919 * i) for i, (one, n) in enumerate(zip(sets, shares, strict=True))]


@dataclass(frozen=True)
class Preparation:
    """How images become what the encoder sees.

    Args:
        mean, std: per channel, of images in [0, 1].
        augment: a name in `AUGMENTATIONS`.
        seed: of the augmentation.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: str
    seed: int

    def pixels(self, images: Tensor, step: int, share: range, total: int) -> Tensor:
        """The images uint8 [B, H, W, C] of a share of a step's batch -> float [B, C, H, W]."""
        augmentation = AUGMENTATIONS[self.augment]
        numbers = augmentation.draw(total, generator(self.seed * 1_000_003 + step))[:, share.start : share.stop]
        pixels = augmentation.apply(images.permute(0, 3, 1, 2).float() / 255, numbers)
        mean, std = torch.tensor(self.mean)[:, None, None], torch.tensor(self.std)[:, None, None]
        return (pixels - mean) / std


class Batches(Dataset[tuple[Tensor, list[Tensor]]]):
    """A step's number -> the pixels [B, C, H, W] of all tasks, and each task's labels.

    Of several devices, each is given a share of the very batch that one device would be given.

    Args:
        streams: one per task.
        preparation: how images become pixels.
        first, count: which steps.
        rank, world: which device this is, of how many.
    """

    def __init__(
        self, streams: Sequence[Stream], preparation: Preparation, first: int, count: int, rank: int, world: int
    ) -> None:
        self.streams, self.preparation, self.first, self.count = streams, preparation, first, count
        self.total = sum(stream.batch_size for stream in streams)
        self.share = range(self.total * rank // world, self.total * (rank + 1) // world)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, list[Tensor]]:
        if index >= self.count:
            raise IndexError(index)
        step, start, parts = self.first + index, 0, []
        for stream in self.streams:
            # Where the share of this device lies within that of this task.
            low, high = (min(max(end - start, 0), stream.batch_size) for end in (self.share.start, self.share.stop))
            parts.append(stream.batch(step, range(low, high)))
            start += stream.batch_size
        images = torch.cat([images for images, _ in parts])
        return self.preparation.pixels(images, step, self.share, self.total), [labels for _, labels in parts]
