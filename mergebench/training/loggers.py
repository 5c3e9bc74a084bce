"""Where a training's loss and rate are written as it goes: Lightning's loggers, by the name of what shows them."""

from pathlib import Path

from lightning.pytorch import loggers
from lightning.pytorch.loggers import Logger

from mergebench.errors import MergebenchError

# Name -> what has to be installed for it; Lightning itself writes CSV.
LOGGERS = {"csv": "lightning", "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
PROJECT = "mergebench"  # under which W&B and MLflow keep runs, if their own settings say nothing else


def make_logger(name: str, folder: Path, run: str) -> Logger:
    """A logger that is ready to write.

    Args:
        name: one of `LOGGERS`.
        folder: where files are written; W&B and MLflow write there what they send elsewhere too.
        run: what the training is called among others.

    Raises:
        MergebenchError: no such logger, or what it needs is not installed.
    """
    if name not in LOGGERS:
        raise MergebenchError(f"unknown logger {name!r}; there are {', '.join(LOGGERS)}")
    try:
        if name == "csv":
            return loggers.CSVLogger(folder, name=run)
        if name == "tensorboard":
            return loggers.TensorBoardLogger(folder, name=run)
        if name == "wandb":
            return loggers.WandbLogger(name=run, save_dir=folder, project=PROJECT)
        return loggers.MLFlowLogger(PROJECT, run_name=run, save_dir=str(folder))
    except ImportError:
        package = LOGGERS[name]
        raise MergebenchError(
            f"--logger {name}: {package} is not installed; pip install {package}, or take --logger csv"
        ) from None
