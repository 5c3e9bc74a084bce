"""A training's progress survives whatever strikes while it is written: the last one that was whole is there."""

import os
import re

import faults
import pytest
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from mergebench.training.progress import Progress


class Small(LightningModule):
    """A layer whose training says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(20, 20)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        """A loss."""
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent."""
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """As the real one: says of which training it is."""
        checkpoint["settings"] = "{}"


@pytest.fixture(scope="module")
def trainer():
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    made = Trainer(max_steps=1, accelerator="cpu", **quiet)
    made.fit(Small(), DataLoader(torch.ones(4, 20)))
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda f: f if isinstance(f, str) else os.strerror(f))
def test_wherever_it_strikes(fault, trainer):
    before = []

    def prepare(folder):
        Progress(folder, {}).save(trainer)
        before.append((folder / "progress.ckpt").read_bytes())
        os.utime(folder / "progress.ckpt", (1, 1))

    def after(folder, hit, said):
        progress = Progress(folder, {})
        assert progress.unfinished(), "one that is whole is there"
        written = (folder / "progress.ckpt").stat().st_mtime > 1
        assert written or hit and (said or isinstance(fault, str))
        assert not said or re.match(r"cannot write \S+progress\.ckpt: .*; ", said) and "\n" not in said, said
        progress.save(trainer)
        assert progress.unfinished() and [p.name for p in folder.iterdir()] == ["progress.ckpt"]

    points = faults.walk(prepare, lambda folder: Progress(folder, {}).save(trainer), after, fault)
    assert points >= 3
