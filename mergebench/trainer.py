"""Lightning's Trainer as this project uses it: where it computes, what it leaves unsaid, how it is interrupted."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator
from typing import Any

from lightning import Trainer


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets a KeyboardInterrupt out of a Trainer, which ends the process with status 1 and ignores further ones."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def placement(device: str) -> dict[str, Any]:
    """What a Lightning Trainer is told so that it computes on "cpu", "cuda" or "cuda:N"."""
    cuda = device.startswith("cuda")
    return {
        "accelerator": "gpu" if cuda else "cpu",
        "devices": [int(device.partition(":")[2] or 0)] if cuda else 1,
    }


def make_tester(device: str) -> Trainer:
    """A Trainer that evaluates and writes nothing."""
    quiet_lightning()
    return Trainer(
        **placement(device),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def quiet_lightning() -> None:
    """Silence notices that say nothing of a run (which devices exist, how many loader workers there are)."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A frozen head is in eval mode on purpose.
    warnings.filterwarnings("ignore", message=".*module\\(s\\) in eval mode at the start of training.*")
    # An expert's checkpoints lie beside its settings, and a run that goes on finds them there.
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*")
