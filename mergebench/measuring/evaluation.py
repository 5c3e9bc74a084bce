"""Evaluating encoders: one Trainer.test over the test loaders of all tasks, counts kept as integers."""

import importlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mergebench.data.content import Split
from mergebench.errors import MergebenchError
from mergebench.measuring.devices import placement
from mergebench.measuring.facts import TaskScore
from mergebench.measuring.proof import count
from mergebench.merging.contract import PerTask
from mergebench.precisions import PRECISIONS
from mergebench.weights.states import StateDict


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    Args:
        scores: task -> counts.
        predictions: task -> predicted class ids [N], in the order of the test split.
        labels: task -> the right ones [N].
    """

    scores: dict[str, TaskScore]
    predictions: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def import_all() -> None:
    """Import what evaluating takes, so that the first evaluation whose time is taken does not wait for it."""
    importlib.import_module("mergebench.measuring.classifier")
    importlib.import_module("mergebench.measuring.trainer")


def evaluate(
    encoder: nn.Module,
    states: StateDict | PerTask,
    heads: Mapping[str, nn.Module],
    splits: Mapping[str, Split],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: str = "cpu",
    devices: int = 1,
    precision: str = "float32",
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
        devices: how many GPUs, from that one on, or processes on the CPU; each is given whole batches, and every image
            is seen once. One state per task is then evaluated task by task.
        precision: one of `PRECISIONS`, what the encoder computes in; another precision is another measurement.
        on_task: called as each task is done.

    Raises:
        MergebenchError: an unknown precision, too few devices, or the metric and the integer counts disagree (a fault
            of the evaluation itself).
    """
    # Lightning and torchmetrics take longer to import than torch, and a merge or a plan asks for nothing of them.
    from mergebench.measuring.classifier import MultiTaskClassifier, SuiteDataModule
    from mergebench.measuring.trainer import interruptible, make_tester

    if precision not in PRECISIONS:
        raise MergebenchError(f"unknown precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    placement(device, devices)
    data = SuiteDataModule({t: splits[t] for t in heads})
    devices = min(devices, sum(data.batches.values()))
    if devices > 1 and isinstance(states, PerTask):
        whole = Evaluation({}, {}, {})
        for task, head in heads.items():
            one = evaluate(
                encoder,
                dict(states[task]),
                {task: head},
                splits,
                mean=mean,
                std=std,
                device=device,
                devices=devices,
                precision=precision,
                on_task=on_task,
            )
            whole.scores.update(one.scores)
            whole.predictions.update(one.predictions)
            whole.labels.update(one.labels)
        return whole
    with tempfile.TemporaryDirectory() as folder, interruptible():
        module = MultiTaskClassifier(
            encoder,
            states if devices == 1 or isinstance(states, PerTask) else dict(states),  # others get no open file
            heads,
            mean,
            std,
            precision,
            on_task=on_task if devices == 1 else None,  # which another process cannot call
            folder=Path(folder) if devices > 1 else None,  # where it leaves its predictions
        )
        logged = make_tester(device, devices).test(module, data, verbose=False)
        if devices == 1:
            shares = [(module.predictions, module.labels)]
        else:
            shares = [torch.load(Path(folder) / f"{rank}.pt") for rank in range(devices)]
            for task in heads:
                on_task(task)
    measured = {k: v for part in logged for k, v in part.items()}
    predictions, labels = (data.in_order(kind) for kind in zip(*shares, strict=True))
    return _counted(measured, predictions, labels)


def _counted(
    measured: Mapping[str, float], predictions: Mapping[str, Tensor], labels: Mapping[str, Tensor]
) -> Evaluation:
    """Integer counts of the predictions, held against the metric."""
    scores, kept = {}, {}
    for task, tensor in predictions.items():
        predicted = tensor.numpy().astype(np.uint16)
        found = count(predicted, labels[task].numpy())
        assert found.correct is not None  # as the labels are known
        if abs(measured[f"{task}/accuracy"] - found.correct / found.total) > 1e-5:
            raise MergebenchError(
                f"task {task!r}: metric {measured[f'{task}/accuracy']} but {found.correct}/{found.total}"
            )
        scores[task] = TaskScore(**found._asdict())
        kept[task] = predicted
    return Evaluation(scores, kept, {task: tensor.numpy() for task, tensor in labels.items()})
