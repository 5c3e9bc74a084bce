"""What a phase costs: wall seconds and peak memory; and where it ran."""

import ctypes
import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from mergebench.errors import MergebenchError
from mergebench.measuring.facts import Cost, Environment

PACKAGES = ("mergebench", "torch", "torchvision", "lightning", "torchmetrics", "timm", "open_clip_torch", "numpy")


class Meter:
    """Filled when the measured block ends: `cost`."""

    cost: Cost


@contextmanager
def measure(device: str) -> Iterator[Meter]:
    """Time a block and find the most memory it held above what was held when it began.

    On a GPU that is the allocator's peak; on Linux the kernel's own high-water mark, reset at the start; elsewhere the
    resident size sampled every 5 ms.

    Args:
        device: "cpu" or "cuda...".
    """
    meter = Meter()
    memory = _GpuPeak(device) if device.startswith("cuda") else _HighWater() if _HighWater.available() else _Sampled()
    start = time.perf_counter()
    try:
        yield meter
    finally:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        meter.cost = Cost(seconds=round(time.perf_counter() - start, 4), peak_bytes=memory.stop())


class _GpuPeak:
    def __init__(self, device: str) -> None:
        self._device = device
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        self._start = torch.cuda.memory_allocated(device)

    def stop(self) -> int:
        return torch.cuda.max_memory_allocated(self._device) - self._start


class _HighWater:
    RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    @classmethod
    def available(cls) -> bool:
        try:
            cls.RESET.write_text("5")  # 5: reset the peak resident set size (Linux 4.0 and later)
        except OSError:
            return False
        return "VmHWM" in cls.STATUS.read_text()

    def __init__(self) -> None:
        # Memory that was freed but not given back would hide what the block takes: give it back first.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self.RESET.write_text("5")
        self._start = self._read()

    def _read(self) -> int:
        line = next(x for x in self.STATUS.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def stop(self) -> int:
        return max(self._read() - self._start, 0)


class _Sampled:
    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start = self._peak = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak - self._start


def resolve_device(device: str) -> str:
    """`auto` -> a GPU if there is one, else the CPU; "cuda" -> "cuda:0"; other names as they are.

    Raises:
        MergebenchError: no such device on this machine.
    """
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if device == "auto":
        return gpus[0] if gpus else "cpu"
    named = "cuda:0" if device == "cuda" else device
    if named not in ("cpu", *gpus):
        raise MergebenchError(f"no device {device!r} on this machine; there are: {', '.join(['cpu', *gpus])}")
    return named


def set_threads(threads: int | None) -> None:
    """Use this many CPU threads; None leaves torch's choice."""
    if threads is not None:
        torch.set_num_threads(threads)


@cache
def environment(device: str, precision: str = "float32") -> Environment:
    """Versions, device and code of this process."""
    name = (
        torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    return Environment(
        device=f"{device} ({name})",
        precision=precision,
        threads=torch.get_num_threads(),
        platform=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        packages={p: _version(p) for p in PACKAGES},
        git_commit=_commit(),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit of the checkout this code runs from, with "+" if files differ from it; empty when installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else ""


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10)
