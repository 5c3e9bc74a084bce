"""Merges of random zoos of real CLIP size, by every method: seconds and peak memory by experts and images.

    python benchmarks/large_zoo/run.py FOLDER --encoder vit_large_patch14_clip_quickgelu_224 --experts 2 8 --limit 600

The folder is filled once and used again. Every merge is `mergebench merge` in a process of its own; what it took is
written to the JSON file at once, and is not measured again: the command goes on where it was stopped. "models" is the
peak less what Python and its packages hold, in models of float32. Methods of many steps take few (`plan.py`).
"""

import argparse
import signal
import sys
from pathlib import Path

import make
from plan import Record, Run, command, methods, refused, run_of
from watch import measured

from mergebench.weights.encoders import Encoder

KEPT = Path(__file__).parents[2] / "docs" / "real-size.json"


def told(run: Run, found: dict) -> str:
    """A line of the printed table."""
    numbers = f"{found['seconds']:9.1f} {found['peak_gb']:8.2f} {found['models']:7.2f}" if "models" in found else ""
    return f"{run.method:<16} {run.experts:>7} {run.images:>6} {numbers} {found['ended']}".rstrip()


def main() -> None:
    """Fill the folder, merge, keep what each merge took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="vit_base_patch32_clip_quickgelu_224")
    parser.add_argument("--experts", type=int, nargs="+", default=[2, 8, 20])
    parser.add_argument("--images", type=int, nargs="+", default=[8], help="of each expert, where a method reads any")
    parser.add_argument("--classes", type=int, default=10, help="of each expert's head")
    parser.add_argument("--methods", nargs="+", choices=methods(), default=methods())
    parser.add_argument("--limit", type=float, default=float("inf"), help="processor seconds at which a merge is ended")
    parser.add_argument("--memory", type=float, default=float("inf"), help="gigabytes above which it is ended")
    parser.add_argument("--others", type=float, default=1, help="measure anew beside what others took a larger share")
    parser.add_argument("--again", action="store_true", help="measure anew whatever is there")
    parser.add_argument("--json", type=Path, default=KEPT)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit ends the merge that is under way, a kill does not
    folder = asked.folder / asked.encoder
    make.fill(folder, asked.encoder, max(asked.experts), max(asked.images), asked.classes)
    model = sum(t.numel() * 4 for t in Encoder(asked.encoder).make().state_dict().values()) / 1e9
    alone = measured([])["peak_gb"]
    print(f"{asked.encoder}: a model is {model:.2f} GB in float32; Python with all packages {alone:.2f} GB")
    print(f"{'method':<16} {'experts':>7} {'images':>6} {'seconds':>9} {'peak GB':>8} {'models':>7}", flush=True)
    record = Record(asked.json)
    for experts in asked.experts:
        for images in asked.images:
            for method in asked.methods:
                run = run_of(asked.encoder, method, experts, images)
                if record.done(run, asked.limit, asked.memory, asked.others) and not asked.again:
                    continue
                found = {"ended": refused(run)}
                if not found["ended"]:
                    found = measured(command(run, folder, asked.classes), asked.limit, asked.memory)
                    found["models"] = round((found["peak_gb"] - alone) / model, 2)
                record.keep(run, found)
                print(told(run, found), flush=True)
    (folder / "merged.safetensors").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
