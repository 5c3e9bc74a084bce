"""Whether memory grows with the number of cells: a thousand of them, one after the other in one process.

Usage: python benchmarks/soak.py [--cells 1000] [--every 100] [--failing] [--threads 2] [--json FILE]

Two random experts of the tiny base, with a task of 60 images each, are merged under as many seeds as it takes, by
methods that read weights alone (one of which draws, so that no two of its merges are the same) and by methods that read
images. After every so many cells it is told what the process holds: resident memory, open files, threads, and tensors
and objects that Python can still reach.
"""

import argparse
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
import yaml
from PIL import Image

from mergebench.measuring.results import Result, ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.planned import Cell
from mergebench.running.runner import Observer, run
from mergebench.weights.states import save_state
from mergebench.zoo.zoo import Zoo

METHODS = ("average", "task_arithmetic", "ties", "dare", "regmean", "regmean++", "fisher")
TASKS, IMAGES = ("one", "two"), 60
FEW = {"regmean": {"samples": 8}, "regmean++": {"samples": 8}, "fisher": {"samples": 2}}
# A method that fails, with tensors in the frames that its error holds.
FAILING = '''"""Fails."""
from mergebench import Needs, merge_method


@merge_method("failing", title="Failing", needs=Needs(base=True))
def failing(pool, *, number: int = 0):
    """Raises."""
    held = pool.map_tensors(lambda base, experts: base + experts.sum(0))
    raise ValueError(f"{len(held)} tensors are held here")
'''


class Held(NamedTuple):
    """What a process holds after so many cells.

    Args:
        cells: done.
        resident: MB.
        files, threads: open, and running.
        tensors, megabytes: that can be reached, and the storages of these, each counted once.
        objects: that the collector of garbage knows.
    """

    cells: int
    resident: float
    files: int
    threads: int
    tensors: int
    megabytes: float
    objects: int


def held(cells: int) -> Held:
    """What this process holds now, once what nothing leads to is gone."""
    gc.collect()
    process = psutil.Process()
    objects = gc.get_objects()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some libraries' objects warn when they are asked what they are
        tensors = [o for o in objects if isinstance(o, torch.Tensor)]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors if _dense(t)}
    megabytes = sum(storages.values()) / 1e6
    return Held(
        cells, process.memory_info().rss / 1e6, process.num_fds(), process.num_threads(), len(tensors), megabytes,
        len(objects),
    )  # fmt: skip


def _dense(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type != "meta"


class Watcher(Observer):
    """Looks at what the process holds after every so many cells."""

    def __init__(self, every: int, tell: Callable[[Held], None] = lambda held: None) -> None:
        self.every, self.tell, self.cells, self.seen = every, tell, 0, []

    def done(self, cell: Cell, result: Result, reused: bool) -> None:
        """One more."""
        self.cells += 1
        if self.cells % self.every == 0:
            self.seen.append(held(self.cells))
            self.tell(self.seen[-1])


def make_suite(folder: Path) -> Path:
    """Write two tasks, their heads and experts, and a suite of them; gives the suite's file."""
    random = np.random.default_rng(0)
    base = dict(Zoo("tiny").base)
    tasks = {}
    for task in TASKS:
        for number in range(IMAGES):
            path = folder / task / f"class{number % 2}" / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        noise = {n: torch.from_numpy(random.standard_normal(t.shape, dtype=np.float32)) for n, t in base.items()}
        save_state({n: t + 0.01 * noise[n].to(t.dtype) for n, t in base.items()}, folder / f"{task}.safetensors")
        weight = torch.from_numpy(random.standard_normal((2, base["norm.weight"].numel()), dtype=np.float32))
        save_state({"weight": weight, "bias": torch.zeros(2)}, folder / f"{task}-head.safetensors")
        tasks[task] = {"data": task, "head": f"{task}-head.safetensors"}
    zoo = {"title": "random", "base": "tiny", "experts": "{task}.safetensors", "tasks": tasks}
    (folder / "zoo.yaml").write_text(yaml.safe_dump(zoo))
    suite = {"title": "soak", "zoo": "zoo.yaml", "merge": list(TASKS), "hyperparameters": FEW}
    (folder / "soak.yaml").write_text(yaml.safe_dump(suite))
    return folder / "soak.yaml"


def soak(
    folder: Path, cells: int, every: int, methods: Sequence[str] = METHODS, tell: Callable = lambda held: None
) -> list[Held]:
    """Run so many cells, or a few more, in this process.

    Args:
        folder: where suite and results are put.
        cells: how many, the experts' among them.
        every: after how many the process is looked at.
        methods: of which there is a cell for every seed.
        tell: given what was seen, each time.
    """
    suite = make_suite(folder)
    seeds = range(-(-cells // (1 + len(methods))))
    watcher = Watcher(every, tell)
    run(make_plan(RunRequest(methods, str(suite), seeds=seeds)), ResultStore(folder / "runs"), watcher)
    return watcher.seen


def main() -> None:
    """Soak, and print a row of a Markdown table for every look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--failing", action="store_true", help="with a method that fails in every cell")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    start = time.perf_counter()
    print(f"| {' | '.join(Held._fields)} | seconds |\n|{'---:|' * (len(Held._fields) + 1)}")

    def tell(now: Held) -> None:
        print(f"| {' | '.join(f'{n:,.0f}' for n in now)} | {time.perf_counter() - start:.0f} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        failing = Path(folder) / "failing.py"
        failing.write_text(FAILING)
        methods = [*METHODS, *([f"{failing}:failing"] if options.failing else [])]
        seen = soak(Path(folder), options.cells, options.every, methods, tell)
    if options.json:
        options.json.write_text(json.dumps([one._asdict() for one in seen], indent=1) + "\n")


if __name__ == "__main__":
    main()
