"""`mergebench doctor`: what this machine can do, and what is wrong with it; works where torch itself does not."""

import importlib
import os
import platform
import shutil
from collections.abc import Callable
from functools import partial

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.saying import say
from mergebench.errors import LONGEST, on_one_line, overheard

FREE_DISK = 2e9  # decoded images (with all corruptions of the tiny suites 1 GB) and results take less

TORCHVISION_REMEDY = (
    "torch and torchvision do not belong together (a CPU-only torch beside the registry's torchvision, for one): "
    "pip uninstall torch torchvision, then pip install torch torchvision in one command"
)


def add_arguments(parser: ArgumentParser) -> None:
    """What `doctor` takes: nothing."""


def torchvision_mismatch(error: BaseException) -> bool:
    """Whether an import failed because torchvision's operators are not in this torch."""
    return "operator torchvision::" in str(error)


def diagnose_import(name: str, error: BaseException) -> str:
    """One line on why a package does not import, with the remedy.

    Args:
        name: the package.
        error: what its import raised.
    """
    if torchvision_mismatch(error):
        return f"{name}: {error}: {TORCHVISION_REMEDY}"
    return f"{name}: {type(error).__name__}: {error}; reinstall with pip install --force-reinstall mergebench"


def check_package(name: str) -> str:
    """The package's version, once it has been imported; raises whatever the import raises."""
    return f"{name} {getattr(importlib.import_module(name), '__version__', '')}"


def check_machine() -> str:
    """Cores, memory and devices."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return (
        f"{os.cpu_count()} cores, {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free, "
        f"{torch.get_num_threads()} torch threads, {', '.join(gpus) or 'no GPU'}"
    )


def check_cache() -> str:
    """The image cache can be written and has room."""
    from mergebench.data.image_cache import cache_root
    from mergebench.weights.writing import check_writable

    check_writable(cache_root() / "any")
    free = shutil.disk_usage(cache_root()).free
    if free < FREE_DISK:
        raise OSError(
            f"{cache_root()} has {free / 1e6:.0f} MB free; set MERGEBENCH_CACHE to a folder with {FREE_DISK / 1e6:.0f}"
        )
    return f"image cache {cache_root()} ({free / 1e9:.1f} GB free)"


def check_zoos() -> str:
    """Every zoo whose weights are in a package is whole, and its parts fit together."""
    from mergebench.catalogue import registry
    from mergebench.weights.hub import is_location
    from mergebench.weights.states import digest
    from mergebench.zoo.zoo import Zoo

    told = []
    for name in registry.config_files("zoos"):
        zoo = Zoo(name, download=False)
        if is_location(zoo.config.base or ""):  # what is on the hub is checked when it is fetched
            told.append(f"{name} ({len(zoo.config.tasks)} experts on the hub)")
            continue
        with overheard(lambda _: None, alone=True):  # what adapters are is no fault
            for task in zoo.config.tasks:
                zoo.expert(task), zoo.head(task)  # noqa: B018 (each is checked as it is read)
        told.append(f"{name} ({len(zoo.config.tasks)} experts, base {digest(zoo.base)})")
    return "zoos " + ", ".join(told)


def check_methods() -> str:
    """Every registered method imports."""
    from mergebench.catalogue import discovery, registry

    for card in registry.methods().values():
        discovery.load_function(card)
    return f"{len(registry.methods())} methods"


def execute(config: Namespace) -> int:
    """Check everything; 1 if anything is wrong."""
    say(f"ok      Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    packages = ("torch", "torchvision", "lightning", "torchmetrics", "timm", "open_clip")
    checks: list[tuple[str, Callable[[], str]]] = [(n, partial(check_package, n)) for n in packages]
    checks += [("machine", check_machine), ("cache", check_cache), ("methods", check_methods), ("zoos", check_zoos)]
    wrong = 0
    for name, check in checks:
        try:
            say(f"ok      {check()}")
        # Whatever is wrong is what this verb is for: report it and look at the rest.
        except Exception as error:  # noqa: BLE001
            wrong += 1
            line = diagnose_import(name, error) if name in packages else f"{name}: {error}"
            say(f"wrong   {on_one_line(line, LONGEST)}")
    return 1 if wrong else 0
