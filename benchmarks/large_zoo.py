"""Merges of random zoos of real CLIP size: seconds and peak resident memory by method and number of experts.

    python benchmarks/large_zoo.py FOLDER --encoder vit_large_patch14_clip_quickgelu_224 --experts 2 8 20

The weights are random, in float16, under Hugging Face's names as published ones are; the folder is filled once and
reused. Every merge is `mergebench merge` in a process of its own, whose peak is the kernel's. "models" is that peak
less what Python and its packages hold, in models of float32.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mergebench.catalogue import registry
from mergebench.weights import formats
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import save_state

DATA_FREE = ("average", "task_arithmetic", "magmax", "dare", "breadcrumbs", "ties")
CALIBRATED = ("regmean", "regmean++")


def make_zoo(folder: Path, encoder: str, experts: int, images: int) -> None:
    """A base, experts near it, and a folder of images each; what is there already stays."""
    shapes = {n: tuple(t.shape) for n, t in Encoder(encoder).make().state_dict().items()}
    base = {
        n: 0.02 * torch.randn(s, generator=torch.Generator().manual_seed(i)) for i, (n, s) in enumerate(shapes.items())
    }
    for number in range(experts + 1):
        path = folder / (f"expert-{number:02}.safetensors" if number else "base.safetensors")
        if not path.exists():
            generator = torch.Generator().manual_seed(1000 + number)
            state = {n: t + bool(number) * 0.002 * torch.randn(t.shape, generator=generator) for n, t in base.items()}
            save_state(formats.from_timm({n: t.half() for n, t in state.items()}, "hf"), path)
        for image in range(images):
            picture = folder / f"images-{number:02}" / f"{image:04}.jpg"
            if number and not picture.exists():
                picture.parent.mkdir(exist_ok=True)
                pixels = np.random.default_rng([number, image]).integers(0, 256, (240, 320, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(picture)


# The kernel's mark of a process of its own: that of a child (`ru_maxrss`) would begin with its parent's.
CHILD = """
import re, sys, time
import mergebench.running.own_merge
from mergebench.cli import main
start = time.perf_counter()
status = main(sys.argv[1:]) if sys.argv[1:] else 0
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print("measured", time.perf_counter() - start, peak * 1024 / 1e9)
sys.exit(status)
"""


def measured(arguments: list[str]) -> tuple[float, float] | None:
    """Wall seconds and peak resident gigabytes of a command line; None if it failed."""
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    *_, seconds, peak = done.stdout.split()
    return None if done.returncode else (float(seconds), float(peak))


def main() -> None:
    """Fill the folder, merge, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="vit_base_patch32_clip_quickgelu_224")
    parser.add_argument("--experts", type=int, nargs="+", default=[2, 8, 20])
    parser.add_argument("--methods", nargs="+", default=[*DATA_FREE, *CALIBRATED])
    parser.add_argument("--samples", type=int, default=8, help="calibration images a task")
    asked = parser.parse_args()
    folder = asked.folder / asked.encoder
    folder.mkdir(parents=True, exist_ok=True)
    make_zoo(folder, asked.encoder, max(asked.experts), asked.samples)
    model = sum(t.numel() * 4 for t in Encoder(asked.encoder).make().state_dict().values()) / 1e9
    alone = measured([])[1]
    print(f"{asked.encoder}: a model is {model:.2f} GB in float32; Python with all packages {alone:.2f} GB")
    print(f"{'method':<18} {'experts':>7} {'seconds':>8} {'peak GB':>8} {'models':>7}", flush=True)
    for method in asked.methods:
        for count in asked.experts:
            numbers = range(1, count + 1)
            command = ["merge", "--method", method, "--encoder", asked.encoder]
            command += ["--base", str(folder / "base.safetensors"), "--output", str(folder / "merged.safetensors")]
            command += ["--experts", *(str(folder / f"expert-{n:02}.safetensors") for n in numbers)]
            if registry.method(method).needs.calibration:
                command += ["--calibration", *(str(folder / f"images-{n:02}") for n in numbers)]
                command += ["--set", f"samples={asked.samples}"]
            found = measured(command)
            told = "  failed" if found is None else f"{found[0]:8.1f} {found[1]:8.2f} {(found[1] - alone) / model:7.2f}"
            print(f"{method:<18} {count:>7} {told}", flush=True)
    (folder / "merged.safetensors").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
