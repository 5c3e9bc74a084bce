"""A training that is logged: loss and rate step by step, and the same weights as without."""

import csv

import pytest
import torch
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.training.batches import TrainingSet
from mergebench.training.finetuning import finetune
from mergebench.training.loggers import LOGGERS, make_logger

STEPS = 40


def trained(logger=None):
    """A linear encoder that learns which channel is the brightest."""
    torch.manual_seed(0)
    labels = torch.arange(48) % 3
    images = torch.randint(0, 100, (48, 4, 4, 3), dtype=torch.uint8)
    images[torch.arange(48), :, :, labels] += 100
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, 8))
    settings = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "steps": STEPS, "batch_size": 16, "learning_rate": 1e-2}
    return finetune(
        encoder, [TrainingSet(nn.Linear(8, 3), images, labels)], accelerator="cpu", logger=logger, **settings
    )


def test_loss_and_rate_are_written_and_weights_are_as_without(tmp_path):
    plain, logged = trained(), trained(make_logger("csv", tmp_path, "expert"))
    assert all(torch.equal(plain[name], logged[name]) for name in plain)
    (file,) = tmp_path.rglob("metrics.csv")
    rows = list(csv.DictReader(file.open()))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    rates = [float(row["lr-AdamW/pg1"]) for row in rows if row.get("lr-AdamW/pg1")]
    assert len(losses) == STEPS and losses[-1] < 0.5 * losses[0]
    assert max(rates) <= 1e-2 and rates[-1] < 0.1 * max(rates), "the cosine's end"
    assert "learning_rate: 0.01" in next(tmp_path.rglob("hparams.yaml")).read_text()


def test_a_logger_of_a_library_writes_what_that_reads(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(make_logger("tensorboard", tmp_path, "expert"))
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file)).Reload()
    assert len(events.Scalars("loss")) == STEPS


@pytest.mark.parametrize("name", sorted(set(LOGGERS) - {"csv"}))
def test_a_library_that_is_not_installed_is_named(name, tmp_path, monkeypatch):
    from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

    def lacking(*_, **__):
        raise ModuleNotFoundError(f"No module named {name!r}")

    for logger in (MLFlowLogger, TensorBoardLogger, WandbLogger):
        monkeypatch.setattr(logger, "__init__", lacking)
    with pytest.raises(MergebenchError, match=f"--logger {name}: {name} is not installed; pip install {name}"):
        make_logger(name, tmp_path, "expert")
    assert not list(tmp_path.iterdir())


def test_an_unknown_logger_is_refused(tmp_path):
    with pytest.raises(MergebenchError, match="unknown logger 'comet'; there are csv, tensorboard, wandb, mlflow"):
        make_logger("comet", tmp_path, "expert")
