"""Evaluation on a device: the CPU's counts, and the host is handed nothing until a task is done."""

from collections import Counter

import numpy as np
import pytest
import torch
from fake_device import FakeDevice, fake_device
from lightning import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

from mergebench.data.image_cache import Split
from mergebench.measuring import classifier, trainer
from mergebench.measuring.evaluation import evaluate
from mergebench.merging.contract import PerTask

PIXELS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


class Accelerator(CPUAccelerator):
    """Lightning's, for any device."""

    def setup_device(self, device):
        pass


def lightning_on(device):
    trainer.quiet_lightning()
    return Trainer(
        strategy=SingleDeviceStrategy(device.device, accelerator=Accelerator()),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture
def measured(mini, monkeypatch):
    """Evaluates on the device in batches of a size: what is found, and the device."""
    rng = np.random.default_rng(0)
    splits = {
        task: Split(rng.integers(0, 256, (32, 32, 32, 3), dtype=np.uint8), rng.integers(0, 3, 32), task)
        for task in mini.tasks
    }
    base = mini.encoder()

    def measure(batch, one_each=False, on="device", **options):
        states = PerTask({t: base.state_dict() for t in mini.tasks}) if one_each else base.state_dict()
        whole = classifier.SuiteDataModule.__init__
        with monkeypatch.context() as patch:
            patch.setattr(classifier.SuiteDataModule, "__init__", lambda self, s: whole(self, s, batch))
            if on == "cpu":
                return evaluate(mini.encoder(), states, mini.heads(), splits, **PIXELS, **options), FakeDevice()
            with fake_device() as device:
                patch.setattr(trainer, "make_tester", lambda *where: lightning_on(device))
                return evaluate(mini.encoder(), states, mini.heads(), splits, **PIXELS, **options), device

    return measure


@pytest.mark.parametrize("one_each", [False, True])
def test_counts_and_predictions_are_the_cpus(measured, one_each):
    found, device = measured(16, one_each)
    expected, _ = measured(16, one_each, on="cpu")
    assert found.scores == expected.scores
    assert all((found.predictions[task] == expected.predictions[task]).all() for task in expected.predictions)
    assert not device.doubles


def test_smaller_batches_bring_no_more_to_the_host(measured, mini):
    few, many = (measured(batch)[1] for batch in (32, 4))
    assert few.crossings and many.crossings == few.crossings
    # Images and labels of a batch are two.
    batches = (8 - 1) * len(mini.tasks)
    assert sum(many.uploads.values()) - sum(few.uploads.values()) == 2 * batches


def test_a_task_s_predictions_come_at_once_and_before_it_is_told(measured, mini):
    kinds = []
    _, device = measured(4, on_task=lambda task: kinds.append(task))
    assert kinds == list(mini.tasks)
    own = Counter({c.function: n for c, n in device.crossings.items() if c.kind == "copy"})
    assert own["_on_host"] == 2 * len(mini.tasks), "predictions and labels"


def test_normalisation_is_no_upload_of_its_own(measured):
    _, device = measured(4)
    assert "normalise" not in {c.function for c in device.uploads}


def test_the_instrument_would_see_a_number_read_at_every_batch(measured, monkeypatch):
    step = classifier.MultiTaskClassifier.test_step

    def reading(self, batch, batch_idx, dataloader_idx=0):
        step(self, batch, batch_idx, dataloader_idx)
        assert torch.isfinite(batch[0].float().mean()).item()

    monkeypatch.setattr(classifier.MultiTaskClassifier, "test_step", reading)
    few, many = (measured(batch)[1] for batch in (32, 4))
    assert sum(many.crossings.values()) - sum(few.crossings.values()) == 7 * 3
