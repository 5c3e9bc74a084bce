"""Makes an expert: fine-tunes an encoder while its task's zero-shot head stays frozen; or on several tasks at once."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from mergebench.states import digest
from mergebench.trainer import interruptible

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved by up to a sixteenth of its side either way, edges repeated: [B, C, H, W] -> the same."""
    batch, _, height, width = images.shape
    moves = torch.rand(2, batch, 1, generator=generator) * 2 - 1
    rows = (torch.arange(height) + (moves[0] * height / 16).round().long()).clamp(0, height - 1)
    columns = (torch.arange(width) + (moves[1] * width / 16).round().long()).clamp(0, width - 1)
    return images.permute(0, 2, 3, 1)[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )


def affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image turned by up to 10 degrees, scaled by up to 10 % and moved by up to a sixteenth of its side."""
    turn, grow, *moves = torch.rand(4, len(images), generator=generator) * 2 - 1
    angle, scale = turn * math.radians(10), 1 + 0.1 * grow
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos, -sin, moves[0] / 8, sin, cos, moves[1] / 8], dim=1).view(-1, 2, 3)
    grid = nn.functional.affine_grid(rows, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


AUGMENTATIONS: dict[str, Augmentation] = {"none": lambda images, generator: images, "shift": shift, "affine": affine}


@dataclass(frozen=True)
class TrainingSet:
    """One task to train on.

    Args:
        head: its frozen classifier, features [B, width] -> logits [B, classes].
        images: uint8 [N, H, W, C].
        labels: int64 [N].
    """

    head: nn.Module
    images: Tensor
    labels: Tensor


class _Shuffled:
    """An endless stream of shuffled passes over one task, read at any place.

    A function of the seed and the place alone, so that a resumed run loses and repeats no image.
    """

    def __init__(self, data: TrainingSet, batch_size: int, seed: int) -> None:
        self.images, self.labels, self.batch_size, self.seed = data.images, data.labels, batch_size, seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The images and labels of a step."""
        position = step * self.batch_size
        chosen = [self._drawn(position + k) for k in range(self.batch_size)]
        return self.images[chosen], self.labels[chosen]

    def _drawn(self, position: int) -> int:
        """The image at a position of an endless stream of shuffled passes over the data."""
        epoch, place = divmod(position, len(self.images))
        if getattr(self, "_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.images), generator=generator).tolist()
        return self._order[place]


class _Batches(Dataset):
    """Step number -> a batch of every task, and the step."""

    def __init__(self, streams: Sequence[_Shuffled], first: int, count: int) -> None:
        self.streams, self.first, self.count = streams, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[list[tuple[Tensor, Tensor]], int]:
        if index >= self.count:
            raise IndexError(index)
        return [stream.batch(self.first + index) for stream in self.streams], self.first + index


class FineTuning(lightning.LightningModule):
    """An encoder in training behind frozen heads.

    Args:
        encoder: images [B, C, H, W] -> features [B, width]; trained in place.
        sets: the tasks; their heads are never changed.
        mean, std: per channel, of images in [0, 1].
        steps: length of the cosine schedule.
        See `finetune` for the rest.
    """

    def __init__(
        self,
        encoder: nn.Module,
        sets: Sequence[TrainingSet],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        warmup: int,
        augment: str,
        frozen: tuple[str, ...],
        seed: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(one.head for one in sets).requires_grad_(False).eval()
        shares = [batch_size // len(sets) + (i < batch_size % len(sets)) for i in range(len(sets))]
        # Tasks of one size must not be gone through in one order, which the first would otherwise lend to all.
        self.streams = [_Shuffled(one, n, seed + 7919 * i) for i, (one, n) in enumerate(zip(sets, shares, strict=True))]
        self.mean, self.std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        self.steps, self.seed, self.steps_per_epoch = steps, seed, steps_per_epoch
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        self.augment = AUGMENTATIONS[augment]
        self.frozen = frozen
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen) if frozen else True)

    def train_dataloader(self) -> DataLoader:
        """The batches of the current epoch."""
        first = self.current_epoch * self.steps_per_epoch
        count = min(self.steps_per_epoch, self.steps - first)
        return DataLoader(_Batches(self.streams, first, count), batch_size=None)

    def training_step(self, batch: tuple[list[tuple[Tensor, Tensor]], int], batch_index: int) -> Tensor:
        """Cross-entropy of one augmented batch, every task weighing the same."""
        parts, step = batch
        images = torch.cat([images for images, _ in parts])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        pixels = self.augment(images.permute(0, 3, 1, 2).float().cpu() / 255, generator)
        pixels = ((pixels - self.mean) / self.std).to(self.device)
        with _attention(self.device):
            features = self.encoder(pixels).split([len(labels) for _, labels in parts])
            told = zip(self.heads, features, parts, strict=True)
            losses = [nn.functional.cross_entropy(head(f).float(), labels) for head, f, (_, labels) in told]
            loss = torch.stack(losses).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> dict:
        """AdamW with warm-up and a cosine down to zero; biases, norms and embeddings are not decayed."""
        optimiser = torch.optim.AdamW(parameter_groups(self.encoder, self.weight_decay), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: min(1.0, (step + 1) / max(1, self.warmup)) * 0.5 * (1 + math.cos(math.pi * step / self.steps)),
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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


def finetune(
    encoder: nn.Module,
    sets: Sequence[TrainingSet],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.0,
    warmup: int = 50,
    augment: str = "none",
    frozen: tuple[str, ...] = (),
    seed: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int | list[int] = 1,
    checkpoint_dir: Path | None = None,
    progress: bool = False,
) -> dict[str, Tensor]:
    """Fine-tunes an encoder on one task, or on several together: traditional multi-task learning.

    Args:
        encoder: holds the base weights; trained in place. Images [B, C, H, W] -> features [B, width].
        sets: the training split of each task, with its frozen head.
        mean, std: per channel, of images in [0, 1].
        steps: optimiser steps.
        batch_size: images per step, dealt out evenly to the tasks.
        learning_rate: AdamW's peak rate; linear warm-up, then a cosine to zero.
        weight_decay: AdamW's decoupled decay of matrices.
        warmup: steps of linear warm-up.
        augment: a name in `AUGMENTATIONS`.
        frozen: parameters whose names start with one of these prefixes keep the base's values.
        seed: of the order of the images and of the augmentation.
        precision: Lightning's, e.g. "32-true" or "bf16-mixed".
        accelerator: Lightning's, e.g. "auto" or "cpu".
        devices: Lightning's, their number or their indices.
        checkpoint_dir: where to save progress, about ten times a run; an interrupted run picks up from there.
        progress: show a progress bar.

    Returns:
        The encoder's state dict in float32 on the CPU.

    Raises:
        ValueError: an unknown augmentation, sizes that do not match, or a checkpoint of another training.
    """
    if augment not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {augment!r}; there are {', '.join(AUGMENTATIONS)}")
    for one in sets:
        if len(one.images) != len(one.labels):
            raise ValueError(f"{len(one.images)} images but {len(one.labels)} labels")
    for prefix in frozen:
        if not any(name.startswith(prefix) for name, _ in encoder.named_parameters()):
            raise ValueError(f"frozen: no parameter's name begins with {prefix!r}")
    if batch_size < len(sets):
        raise ValueError(f"batch_size={batch_size}, but there are {len(sets)} tasks; each needs an image in every step")
    steps_per_epoch = max(1, math.ceil(steps / 10))
    module = FineTuning(
        encoder.train(),
        sets,
        mean,
        std,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup=warmup,
        augment=augment,
        frozen=frozen,
        seed=seed,
        steps_per_epoch=steps_per_epoch,
    )
    callbacks, resume_from = [], None
    if checkpoint_dir is not None:
        callbacks.append(ModelCheckpoint(checkpoint_dir, filename="progress", enable_version_counter=False))
        resume_from = _unfinished(
            Path(checkpoint_dir),
            {
                "steps": steps,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "weight_decay": weight_decay,
                "warmup": warmup,
                "augment": augment,
                "frozen": list(frozen),
                "seed": seed,
                "precision": precision,
                "base": digest(encoder.state_dict()),
                "heads": [digest(one.head.state_dict()) for one in sets],
                "training data": [digest({"images": one.images, "labels": one.labels}) for one in sets],
            },
        )
    trainer = lightning.Trainer(
        max_epochs=math.ceil(steps / steps_per_epoch),
        reload_dataloaders_every_n_epochs=1,
        accelerator=accelerator,
        devices=devices,
        precision=precision,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=checkpoint_dir is not None,
        enable_progress_bar=progress,
        enable_model_summary=False,
    )
    with interruptible():
        trainer.fit(module, ckpt_path=resume_from)
    return {name: tensor.detach().float().cpu().clone() for name, tensor in encoder.eval().state_dict().items()}


def _unfinished(folder: Path, settings: dict[str, Any]) -> Path | None:
    """The checkpoint of this very training, if it was broken off; of another one, it would be taken for this one's."""
    saved, told = folder / "progress.ckpt", folder / "settings.json"
    if not saved.exists():
        folder.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps(settings), encoding="utf-8")
        return None
    before = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
    for name, value in settings.items():
        if before.get(name) != value:
            raise ValueError(
                f"{folder} holds the checkpoint of another training ({name} {before.get(name)!r}, not {value!r}); "
                "name another folder, or delete it"
            )
    return saved
