"""Makes an expert: fine-tunes an encoder while its task's head stays frozen; or on several tasks at once."""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from mergebench.errors import MergebenchError
from mergebench.measuring.devices import count_of, strategy
from mergebench.measuring.trainer import interruptible, training_precision
from mergebench.merging.layout import BATCH_NORMS
from mergebench.merging.pool import Tell
from mergebench.training.augmentation import AUGMENTATIONS
from mergebench.training.batches import Preparation, TrainingSet, make_streams
from mergebench.training.lora import adapt, check_rank, learnt, merge_adapters
from mergebench.training.module import FineTuning, Schedule
from mergebench.training.progress import Progress, progress_file
from mergebench.training.telling import Telling
from mergebench.weights.states import check_finite, digest

LOGGED = 100  # times that a training writes its loss to a logger


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
    lora: int | None = None,
    lora_layers: tuple[str, ...] = (),
    factors: dict[str, tuple[Tensor, Tensor]] | None = None,
    seed: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int | list[int] = 1,
    checkpoint_dir: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
    logger: Logger | None = None,
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
        lora: rank of the differences that are learnt in the blocks' linear layers, all else frozen (see `lora.py`);
            they are in the weights that are returned. None: all weights are trained.
        lora_layers: names, or ends of them behind a dot, of the layers that `lora` adapts; none: all of them.
        factors: filled with what was learnt by `lora`, as `lora.learnt` has it.
        seed: of the order of the images, of the augmentation, of `lora`'s start and of the encoder's dropout.
        precision: as of `training_precision`.
        accelerator: Lightning's, e.g. "auto" or "cpu".
        devices: Lightning's, their number or their indices. Each is given its share of every step's images, so that
            what is learnt does not depend on their number but for rounding (and for what an encoder with dropout
            drops, which each device draws for itself).
        checkpoint_dir: where to save progress, about ten times a run; an interrupted run picks up from there.
        identity: what tells the encoder from others with the same weights (`Zoo.encoder_identity`); kept with the
            progress.
        tell: told how far it is.
        logger: written the loss and the rate as they go (see `loggers.py`), and first what is trained how.

    Returns:
        The encoder's state dict in float32 on the CPU.

    Raises:
        MergebenchError: an unknown augmentation or precision, settings that do not fit together, a checkpoint of
            another training, or weights that are not finite in the end.
    """
    computed_in = training_precision(precision, accelerator)
    check_settings(
        encoder,
        len(sets),
        batch_size=batch_size,
        augment=augment,
        frozen=frozen,
        lora=lora,
        lora_layers=lora_layers,
        devices=devices,
        checkpoint_dir=checkpoint_dir,
    )
    for one in sets:
        if len(one.images) != len(one.labels):
            raise MergebenchError(f"{len(one.images)} images but {len(one.labels)} labels")
    settings = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup": warmup,
        "augment": augment,
        "frozen": list(frozen),
        "lora": lora,
        "lora layers": sorted(lora_layers) or None,  # as where the checkpoint does not say it: all
        "seed": seed,
        "precision": computed_in,
        "mean": list(mean),
        "std": list(std),
        "encoder": dict(identity or {}),
    }
    kept, resume_from = None, None
    if checkpoint_dir is not None:
        settings["base"] = digest(encoder.state_dict())
        settings["heads"] = [digest(one.head.state_dict()) for one in sets]
        settings["training data"] = [one.identity for one in sets]
        kept = Progress(Path(checkpoint_dir), settings)
        resume_from = kept.unfinished()
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen) if frozen else True)
    if lora is not None:
        adapt(encoder, lora, seed, lora_layers)
    encoder.train()
    for name, norm in encoder.named_modules():
        # What stays the base's keeps the statistics that it is run with, too.
        if isinstance(norm, BATCH_NORMS) and (lora is not None or (frozen and f"{name}.".startswith(frozen))):
            norm.eval()
    # Plain numbers: a checkpoint holds them, and one with a command line's own types in it cannot be read again.
    schedule = Schedule(int(steps), float(learning_rate), float(weight_decay), int(warmup))
    module = FineTuning(
        encoder,
        [copy.deepcopy(one.head) for one in sets],  # a Trainer moves them, and may change their precision
        make_streams(sets, batch_size, seed),
        Preparation(mean, std, augment, seed),
        schedule,
        seed,
        kept,
    )
    if computed_in == "64-true":
        module.double()  # the Trainer would do so once a checkpoint's doubles were read, and rounded
    if logger is not None:
        logger.log_hyperparams(settings)
    trainer = lightning.Trainer(
        max_epochs=math.ceil(steps / schedule.steps_per_epoch),
        reload_dataloaders_every_n_epochs=1,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy(devices),
        use_distributed_sampler=False,  # the batches are dealt out already
        precision=computed_in,
        logger=logger or False,
        log_every_n_steps=max(1, steps // LOGGED),
        enable_checkpointing=False,  # the module keeps its progress itself
        enable_progress_bar=False,
        callbacks=[*([Telling(tell, steps)] if tell else []), *([LearningRateMonitor("step")] if logger else [])],
        enable_model_summary=False,
    )
    with interruptible():
        trainer.fit(module, ckpt_path=resume_from)
    if factors is not None:
        factors |= learnt(encoder)
    merge_adapters(encoder)
    state = {name: tensor.detach().float().cpu().clone() for name, tensor in encoder.eval().state_dict().items()}
    check_finite(state, "the training diverged", "lower the learning rate")
    return state


def check_settings(
    encoder: nn.Module,
    tasks: int,
    *,
    batch_size: int,
    augment: str,
    frozen: tuple[str, ...],
    lora: int | None,
    lora_layers: tuple[str, ...] = (),
    devices: int | list[int] = 1,
    checkpoint_dir: Path | None = None,
) -> None:
    """Refuses what cannot be trained, before anything is read or written.

    Args:
        encoder: its structure alone matters.
        tasks: how many are trained on.
        batch_size, augment, frozen, lora, lora_layers, devices, checkpoint_dir: as of `finetune`.

    Raises:
        MergebenchError: as `finetune` does.
    """
    if augment not in AUGMENTATIONS:
        raise MergebenchError(f"unknown augmentation {augment!r}; there are {', '.join(AUGMENTATIONS)}")
    for prefix in frozen:
        if not any(name.startswith(prefix) for name, _ in encoder.named_parameters()):
            raise MergebenchError(f"frozen: no parameter's name begins with {prefix!r}")
    if frozen and all(name.startswith(frozen) for name, _ in encoder.named_parameters()):
        raise MergebenchError(f"frozen={list(frozen)} leaves nothing to be trained; freeze less")
    if frozen and lora is not None:
        raise MergebenchError(f"frozen={list(frozen)} with lora={lora}: with lora all weights are frozen; give one")
    if lora_layers and lora is None:
        raise MergebenchError(f"lora_layers={list(lora_layers)} are of lora; give a rank, lora")
    if lora is not None:
        check_rank(encoder, lora, lora_layers)
    for number, what in ((tasks, "tasks"), (count_of(devices), "devices")):
        if batch_size < number:
            raise MergebenchError(
                f"batch_size={batch_size}, but there are {number} {what}; each needs an image in every step"
            )
    if checkpoint_dir is not None:
        progress_file(Path(checkpoint_dir))
