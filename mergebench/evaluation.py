"""Evaluating encoders: one Trainer.test over the test loaders of all tasks, counts kept as integers."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler
from torchmetrics.classification import MulticlassAccuracy

from mergebench.errors import MergebenchError
from mergebench.image_cache import Split
from mergebench.images import normalise
from mergebench.merging import PerTask
from mergebench.results import TaskScore
from mergebench.states import StateDict
from mergebench.trainer import interruptible, make_tester


class SplitDataset(Dataset):
    """A split served by batches of indices, so that a batch is one slice of the memory map."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split.labels)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._split.images[indices]), torch.from_numpy(self._split.labels[indices])


class SuiteDataModule(LightningDataModule):
    """The test loaders of a suite, one per task.

    Args:
        splits: task -> its test split.
        batch_size: images a batch.
    """

    def __init__(self, splits: Mapping[str, Split], batch_size: int = 256) -> None:
        super().__init__()
        self.splits, self.batch_size = dict(splits), batch_size

    def test_dataloader(self) -> list[DataLoader]:
        """uint8 batches [B, H, W, 3] with labels [B], in the order of the split; normalised on the device."""
        datasets = [SplitDataset(s) for s in self.splits.values()]
        # Batches are slices of decoded, memory-mapped images: a worker process would cost more than it saves.
        return [
            DataLoader(d, batch_size=None, sampler=BatchSampler(SequentialSampler(d), self.batch_size, drop_last=False))
            for d in datasets
        ]


class MultiTaskClassifier(LightningModule):
    """One encoder with a frozen head per task; a `PerTask` result has its weights swapped in task by task.

    Args:
        encoder: images [B, 3, H, W] -> features [B, width].
        states: one state for all tasks, or one per task.
        heads: task -> classifier.
        mean, std: per channel, of images scaled to [0, 1].
        on_task: called with a task's name when its last batch is done.
    """

    def __init__(
        self,
        encoder: nn.Module,
        states: StateDict | PerTask,
        heads: Mapping[str, nn.Module],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        on_task: Callable[[str], None] = lambda task: None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads.values())
        self.tasks = list(heads)
        # Micro: the fraction of images classified correctly, as the field reports it (torchmetrics' default is macro).
        self.accuracy = nn.ModuleDict(
            {
                f"accuracy_{i}": MulticlassAccuracy(len(h.text_features), average="micro")
                for i, h in enumerate(self.heads)
            }
        )
        self.predictions: dict[str, list[Tensor]] = {t: [] for t in self.tasks}
        self.labels: dict[str, list[Tensor]] = {t: [] for t in self.tasks}
        self._states, self._mean, self._std, self._on_task = states, mean, std, on_task
        self._loaded: str | None = None

    def _load(self, task: str) -> None:
        key = task if isinstance(self._states, PerTask) else ""
        if key != self._loaded:
            self.encoder.load_state_dict(self._states[task] if key else self._states)
            self._loaded = key

    def forward(self, images: Tensor, index: int) -> Tensor:
        """uint8 images [B, H, W, 3] of the task at `index` -> logits [B, C]."""
        self._load(self.tasks[index])
        return self.heads[index](self.encoder(normalise(images, self._mean, self._std)))

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count one batch."""
        images, labels = batch
        task = self.tasks[dataloader_idx]
        predicted = self(images, dataloader_idx).argmax(-1)
        metric = self.accuracy[f"accuracy_{dataloader_idx}"]
        metric.update(predicted, labels)
        self.log(f"{task}/accuracy", metric, on_epoch=True, on_step=False, add_dataloader_idx=False)
        self.predictions[task].append(predicted.cpu())
        self.labels[task].append(labels.cpu())
        if batch_idx + 1 == self.trainer.num_test_batches[dataloader_idx]:
            self._on_task(task)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    Args:
        scores: task -> counts.
        predictions: task -> predicted class ids [N], in the order of the test split.
    """

    scores: dict[str, TaskScore]
    predictions: dict[str, np.ndarray]


def evaluate(
    encoder: nn.Module,
    states: StateDict | PerTask,
    heads: Mapping[str, nn.Module],
    splits: Mapping[str, Split],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: str = "cpu",
    on_task: Callable[[str], None] = lambda task: None,
) -> Evaluation:
    """Evaluate one state (or one per task) on the test splits of all tasks in `heads`.

    Args:
        encoder: the architecture; its weights are overwritten.
        states: merged weights, or `PerTask`.
        heads: task -> classifier.
        splits: task -> test split, for the same tasks.
        mean, std: normalisation per channel.
        device: "cpu" or "cuda:N".
        on_task: called as each task is done.

    Raises:
        MergebenchError: the metric and the integer counts disagree (a fault of the evaluation itself).
    """
    module = MultiTaskClassifier(encoder, states, heads, mean, std, on_task)
    with interruptible():
        logged = make_tester(device).test(module, SuiteDataModule({t: splits[t] for t in heads}), verbose=False)
    measured = {k: v for part in logged for k, v in part.items()}
    scores, predictions = {}, {}
    for task in heads:
        predicted = torch.cat(module.predictions[task]).numpy().astype(np.uint16)
        correct = int((predicted == torch.cat(module.labels[task]).numpy()).sum())
        if abs(measured[f"{task}/accuracy"] - correct / len(predicted)) > 1e-5:
            raise MergebenchError(
                f"task {task!r}: metric {measured[f'{task}/accuracy']} but {correct}/{len(predicted)}"
            )
        digest = hashlib.sha256(predicted.astype("<u2").tobytes()).hexdigest()[:16]
        scores[task] = TaskScore(correct=correct, total=len(predicted), predictions=digest)
        predictions[task] = predicted
    return Evaluation(scores, predictions)
