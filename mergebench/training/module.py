"""The Lightning module that trains an encoder behind frozen heads."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from mergebench.measuring.portable import Portable
from mergebench.seeds import derived, seeded
from mergebench.training.batches import Batches, Preparation, Stream
from mergebench.training.progress import Progress
from mergebench.weights.states import count_not_finite

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig


@dataclass(frozen=True)
class Schedule:
    """How far every step goes.

    Args:
        steps: optimiser steps, the length of the cosine.
        learning_rate: AdamW's peak rate.
        weight_decay: AdamW's decoupled decay of matrices.
        warmup: steps of linear warm-up.
    """

    steps: int
    learning_rate: float
    weight_decay: float
    warmup: int

    @property
    def steps_per_epoch(self) -> int:
        """Progress is kept at the end of an epoch: about ten times a run."""
        return max(1, math.ceil(self.steps / 10))

    def factor(self, step: int) -> float:
        """Of the peak rate: a linear warm-up, then a cosine down to zero."""
        return min(1.0, (step + 1) / max(1, self.warmup)) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class FineTuning(Portable, lightning.LightningModule):
    """An encoder in training behind frozen heads.

    Args:
        encoder: images [B, C, H, W] -> features [B, width]; what requires a gradient is trained, in place.
        heads: one per task, never changed.
        streams: the tasks' images.
        preparation: how they become pixels.
        schedule: how far every step goes.
        seed: of what the encoder draws itself (dropout, drop path).
        progress: where to keep it.
    """

    def __init__(
        self,
        encoder: nn.Module,
        heads: Sequence[nn.Module],
        streams: Sequence[Stream],
        preparation: Preparation,
        schedule: Schedule,
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleList(heads).requires_grad_(False).eval()
        self.streams, self.preparation, self.schedule = streams, preparation, schedule
        self.seed, self.progress = seed, progress

    def train_dataloader(self) -> DataLoader[tuple[Tensor, list[Tensor]]]:
        """The batches of the current epoch."""
        count = min(self.schedule.steps_per_epoch, self.schedule.steps - self._first_step)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        batches = Batches(self.streams, self.preparation, self._first_step, count, rank, world)
        # A loader without a generator of its own draws from the process's, though it shuffles nothing.
        return DataLoader(batches, batch_size=None, generator=torch.Generator())

    @property
    def _first_step(self) -> int:
        """Of the current epoch."""
        return self.current_epoch * self.schedule.steps_per_epoch

    def training_step(self, batch: tuple[Tensor, list[Tensor]], batch_index: int) -> Tensor:
        """Cross-entropy of one augmented batch, every task weighing the same, whatever its share on this device."""
        pixels, labels = batch
        drawn = derived("encoder", self.seed, self._first_step + batch_index, self.trainer.global_rank)
        with _attention(self.device), seeded(drawn, self.device):
            features = self.encoder(pixels).split([len(part) for part in labels])
            losses = [
                nn.functional.cross_entropy(head(f).float(), part, reduction="sum") / stream.batch_size
                for head, f, part, stream in zip(self.heads, features, labels, self.streams, strict=True)
            ]
            # The devices' gradients are averaged, but their shares of the loss add up.
            loss = torch.stack(losses).mean() * self.trainer.world_size
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Keeps the progress, or stops where there can be none: weights that are not finite stay so."""
        if any(count_not_finite(parameter) for parameter in self.encoder.parameters()):
            self.trainer.should_stop = True  # an error would end several devices' processes with a traceback
        elif self.progress:
            self.progress.save(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes of which training it is."""
        if self.progress:
            checkpoint["settings"] = self.progress.settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Another training's may have taken its place since it was looked at."""
        if self.progress:
            self.progress.check(checkpoint)

    def configure_optimizers(self) -> "OptimizerLRSchedulerConfig":
        """AdamW under the schedule; biases, norms and embeddings are not decayed."""
        groups = parameter_groups(self.encoder, self.schedule.weight_decay)
        optimiser = torch.optim.AdamW(groups, lr=self.schedule.learning_rate)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, self.schedule.factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rates, "interval": "step"}}


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """An optimiser's two groups: matrices, which are decayed; biases, norms, tokens and embeddings, which are not."""
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    decayed = {n for n, p in named if p.ndim >= 2 and "embed" not in n and "token" not in n}
    return [
        {"params": [p for n, p in named if n in decayed], "weight_decay": weight_decay},
        {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.0},
    ]


@contextlib.contextmanager
def _attention(device: torch.device) -> Iterator[None]:
    """On CPUs, attention in plain matrix products: flash attention's bf16 backward pass is many times slower there."""
    if device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
