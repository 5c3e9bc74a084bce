"""Lightning's Trainer as this project uses it: what it computes in, what it leaves unsaid, how it is interrupted."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator

import torch
from lightning import Trainer

from mergebench.errors import MergebenchError
from mergebench.measuring.devices import placement, strategy
from mergebench.precisions import TRAINING_PRECISIONS, TrainingPrecision


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets any KeyboardInterrupt out of a Trainer, which ends the process with status 1 and ignores further ones."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as leaving:
        interrupt = leaving.__context__
        if not isinstance(interrupt, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise type(interrupt) from None  # SIGTERM's kind is told apart at the end


def training_precision(name: str, accelerator: str) -> TrainingPrecision:
    """What to train in: `auto` is bf16-mixed on a device that computes in bfloat16, else 32-true; other names stay.

    Args:
        name: "auto", or one of `TRAINING_PRECISIONS`.
        accelerator: Lightning's.

    Raises:
        MergebenchError: no such precision, or none of this accelerator.
    """
    gpu = torch.cuda.is_available() if accelerator == "auto" else accelerator != "cpu"
    if name == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else _cpu_has_bfloat16()
        return "bf16-mixed" if native else "32-true"
    found = next((known for known in TRAINING_PRECISIONS if known == name), None)
    if found is None:
        raise MergebenchError(f"unknown precision {name!r}; there are: auto, {', '.join(TRAINING_PRECISIONS)}")
    if found == "16-mixed" and not gpu:
        raise MergebenchError("precision '16-mixed' needs a GPU; on a CPU there is bf16-mixed")
    return found


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 numbers itself; where it does not, mixed precision is slower than float32."""
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16"))


def make_tester(device: str, devices: int = 1) -> Trainer:
    """A Trainer that evaluates and writes nothing; devices as in `placement`."""
    quiet_lightning()
    where = placement(device, devices)
    return Trainer(
        **where,
        strategy=strategy(where["devices"]),
        use_distributed_sampler=False,  # which repeats images where they cannot be dealt out evenly
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
    # One pixel has many strides, and no layout that matters.
    warnings.filterwarnings("ignore", message=".*Grad strides do not match bucket view strides.*")
    # A frozen head is in eval mode on purpose.
    warnings.filterwarnings("ignore", message=".*module\\(s\\) in eval mode at the start of training.*")
    # Of several devices one may have no batch of a task; the metric sums over all of them by itself.
    warnings.filterwarnings("ignore", message=".*Total length of `.*` across ranks is zero.*")
    warnings.filterwarnings("ignore", message=".*was called before the ``update`` method.*")
    warnings.filterwarnings("ignore", message=".*It is recommended to use `self.log.*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*")
