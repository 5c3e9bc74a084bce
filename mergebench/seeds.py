"""What random numbers are drawn from: decided by seeds alone, whatever their size and whatever was drawn before."""

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derived(*key: object) -> int:
    """A seed for every key: keys that differ have nothing in common, however near they are."""
    text = "|".join(map(str, key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int) -> torch.Generator:
    """A CPU generator; of a seed that is more than torch takes, the last 64 bits count."""
    return torch.Generator().manual_seed(seed % 2**64)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The process's own generators begin at a seed; afterwards they are where they were.

    Args:
        seed: at most 64 bits.
        device: whose generator it is, beside the CPU's.
    """
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:  # torch.manual_seed would change those of GPUs that are no concern of ours
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield
