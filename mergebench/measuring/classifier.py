"""What Lightning is given to evaluate: the test loaders of all tasks, and one encoder with a head for each."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler
from torchmetrics.classification import MulticlassAccuracy

from mergebench.data.content import Split
from mergebench.data.images import normalise
from mergebench.measuring.lanes import Lanes
from mergebench.measuring.portable import Portable
from mergebench.merging.contract import PerTask
from mergebench.weights.states import StateDict


class SplitDataset(Dataset[tuple[Tensor, Tensor]]):
    """A split served by batches of indices: of a memory map, only a batch's images are read."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split.labels)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._split.images[indices]), torch.from_numpy(self._split.labels[indices])


class SuiteDataModule(Portable, LightningDataModule):
    """The test loaders of a suite, one per task.

    Args:
        splits: task -> its test split.
        batch_size: images a batch.
    """

    def __init__(self, splits: Mapping[str, Split], batch_size: int = 256) -> None:
        super().__init__()
        self.splits, self.batch_size = dict(splits), batch_size
        self.allow_zero_length_dataloader_with_multiple_devices = True

    @property
    def batches(self) -> dict[str, int]:
        """Task -> how many batches its split makes."""
        return {task: -(-len(split.labels) // self.batch_size) for task, split in self.splits.items()}

    def test_dataloader(self) -> list[DataLoader[tuple[Tensor, Tensor]]]:
        """uint8 batches [B, H, W, 3] with labels [B], in the order of the split; normalised on the device.

        Several devices take the batches of all tasks by turns, so that a batch is the same whatever their number.
        """
        assert self.trainer is not None  # which asks for them
        rank, world, turn = self.trainer.global_rank, self.trainer.world_size, 0
        loaders = []
        for split in self.splits.values():
            dataset = SplitDataset(split)
            batches = BatchSampler(SequentialSampler(dataset), self.batch_size, drop_last=False)
            own = [batch for number, batch in enumerate(batches, turn) if number % world == rank]
            # Images are decoded already, and memory-mapped: a worker process would cost more than it saves.
            loaders.append(DataLoader(dataset, batch_size=None, sampler=own))
            turn += len(batches)
        return loaders

    def in_order(self, shares: Sequence[Mapping[str, Sequence[Tensor]]]) -> dict[str, Tensor]:
        """Puts together what the devices made of their batches.

        Args:
            shares: per device, task -> a tensor [B] per batch.

        Returns:
            Task -> [N], in the order of the split.
        """
        rest = [{task: iter(parts) for task, parts in share.items()} for share in shares]
        turns = itertools.cycle(rest)
        return {t: torch.cat([next(next(turns)[t]) for _ in range(n)]) for t, n in self.batches.items()}


class MultiTaskClassifier(Portable, LightningModule):
    """One encoder with a frozen head per task; a `PerTask` result has its weights swapped in task by task.

    Args:
        encoder: images [B, 3, H, W] -> features [B, width].
        states: one state for all tasks, or one per task.
        heads: task -> classifier.
        mean, std: per channel, of images scaled to [0, 1].
        precision: of the encoder: "float32", or "bfloat16" (autocast: its matrix products are, its norms and sums stay
            float32); heads and decisions are always float32.
        on_task: called with a task's name when its last batch is done.
        folder: where to leave predictions and labels for the process that waits for this one.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        states: StateDict | PerTask,
        heads: Mapping[str, nn.Module],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: str = "float32",
        on_task: Callable[[str], None] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads.values())
        self.tasks = list(heads)
        self.accuracy = nn.ModuleDict({f"accuracy_{i}": _accuracy(h) for i, h in enumerate(self.heads)})
        self.register_buffer("_mean", torch.tensor(mean), persistent=False)
        self.register_buffer("_std", torch.tensor(std), persistent=False)
        self.predictions: dict[str, list[Tensor]] = {t: [] for t in self.tasks}
        self.labels: dict[str, list[Tensor]] = {t: [] for t in self.tasks}
        self._states, self._precision = states, precision
        self._on_task, self._folder = on_task, folder
        self._loaded: str | None = None
        self._lanes: Lanes | None = None

    def on_test_start(self) -> None:
        """On a CPU, images go through the encoder in lanes."""
        if self.device.type == "cpu":
            self._lanes = Lanes(self.encoder, self._features)

    def on_test_end(self) -> None:
        """The lanes' threads end."""
        if self._lanes is not None:
            self._lanes.close()
            self._lanes = None

    def _load(self, task: str) -> None:
        states = self._states
        key = task if isinstance(states, PerTask) else ""
        if key != self._loaded:
            self.encoder.load_state_dict(states[task] if isinstance(states, PerTask) else states)
            self._loaded = key

    def forward(self, images: Tensor, index: int) -> Tensor:
        """uint8 images [B, H, W, 3] of the task at `index` -> logits [B, C]."""
        self._load(self.tasks[index])
        features = self._features(self.encoder, images) if self._lanes is None else self._lanes(images)
        logits: Tensor = self.heads[index](features)
        return logits

    def _features(self, encoder: nn.Module, images: Tensor) -> Tensor:
        """uint8 images [B, H, W, 3] -> features [B, width], float32."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            features: Tensor = encoder(normalise(images, self._mean, self._std))
            return features.float()

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count one batch."""
        images, labels = batch
        task = self.tasks[dataloader_idx]
        predicted = self(images, dataloader_idx).argmax(-1)
        self._metric(dataloader_idx).update(predicted, labels)
        self.predictions[task].append(predicted)
        self.labels[task].append(labels)
        if batch_idx + 1 == self.trainer.num_test_batches[dataloader_idx]:
            for kept in (self.predictions, self.labels):  # not at every batch, where that would wait for the device
                kept[task] = _on_host(kept[task])
            if self._on_task:
                self._on_task(task)

    def on_test_epoch_end(self) -> None:
        """Log every task's accuracy: here, as a device that had no batch of a task must join in its sum."""
        for index, task in enumerate(self.tasks):
            self.log(f"{task}/accuracy", self._metric(index).compute())
        if self._folder:
            torch.save((self.predictions, self.labels), self._folder / f"{self.global_rank}.pt")

    def _metric(self, index: int) -> MulticlassAccuracy:
        metric = self.accuracy[f"accuracy_{index}"]
        assert isinstance(metric, MulticlassAccuracy)  # of a module of modules, types say no more
        return metric


def _accuracy(head: nn.Module) -> MulticlassAccuracy:
    """The fraction of images classified correctly, as the field reports it (torchmetrics' default is another mean)."""
    classes = head.classes
    assert isinstance(classes, int)  # as of every head
    # Its own look at the labels would wait for the device at every batch; the counts are held against integers anyway.
    return MulticlassAccuracy(classes, average="micro", validate_args=False)


def _on_host(parts: Sequence[Tensor]) -> list[Tensor]:
    """Tensors [B] of one device on the CPU, in one go."""
    return [*torch.split(torch.cat([*parts]).cpu(), [len(part) for part in parts])]
