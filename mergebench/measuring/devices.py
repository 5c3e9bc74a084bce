"""Where Lightning's Trainer is to compute, in its own terms; known without Lightning, as a plan asks before it runs."""

from typing import Any

import torch

from mergebench.errors import MergebenchError


def placement(device: str, devices: int = 1) -> dict[str, Any]:
    """What a Lightning Trainer is told so that it computes on "cpu", "cuda" or "cuda:N".

    Args:
        device: the first, or the only one.
        devices: how many: GPUs from that one on, or processes on the CPU.

    Raises:
        MergebenchError: there are not so many.
    """
    if not device.startswith("cuda"):
        return {"accelerator": "cpu", "devices": devices}
    first, there = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if devices > 1 and first + devices > there:
        raise MergebenchError(f"no {devices} GPUs from {device} on: this machine has {there}; ask for fewer devices")
    return {"accelerator": "gpu", "devices": list(range(first, first + devices))}


def strategy(devices: int | list[int]) -> str:
    """Lightning's strategy: several devices are processes started for the occasion, which the caller waits for.

    (The other kind runs the caller's whole script once more on each device. It is started by `spawn`, as a process
    that has used a GPU cannot be forked: scripts that ask for several devices need `if __name__ == "__main__":`.)
    """
    return "ddp_spawn" if count_of(devices) > 1 else "auto"


def count_of(devices: int | list[int]) -> int:
    """How many devices there are in what Lightning takes for them: their number, or their indices."""
    return len(devices) if isinstance(devices, list) else devices
