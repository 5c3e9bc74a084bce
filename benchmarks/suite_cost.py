"""How long every suite and study takes: each as one command on an empty output folder, with the image cache shared.

Usage: python benchmarks/suite_cost.py --out build/protocols [--suites tiny-20 unseen] [--studies alpha] [--methods ...]

Results are kept in the folder, one subfolder each, so that tables can be looked at afterwards.
"""

import argparse
import os
from pathlib import Path

from run_cost import timed

from mergebench.catalogue.registry import config_files
from mergebench.catalogue.yaml_files import read_suite, read_zoo

# The average of one expert is that expert: for the experts x tasks matrix other methods have nothing to add.
ENOUGH = {"experts": ["average"]}


def main() -> None:
    """Run what was asked for and print a Markdown table of minutes and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for results; a used one is refused")
    embedded = [name for name in config_files("suites") if is_embedded(read_suite(name).zoo)]
    parser.add_argument("--suites", nargs="*", default=embedded)
    parser.add_argument("--studies", nargs="*", default=list(config_files("studies")))
    parser.add_argument("--methods", nargs="+", default=["all"], help="of the suites; studies bring their own")
    options = parser.parse_args()
    cache = os.environ.get("MERGEBENCH_CACHE", str(options.out / "cache"))
    runs = {n: ["--methods", *ENOUGH.get(n, options.methods), "--suite", n] for n in options.suites}
    runs |= {name: ["--study", name] for name in options.studies}
    print("| command | minutes | peak MB |\n|---|---:|---:|", flush=True)
    for name, arguments in runs.items():
        out = options.out / name
        if out.exists():
            raise SystemExit(f"{out} exists: a run that finds results there would not be the whole run")
        seconds, peak = timed(["run", *arguments, "--out", str(out)], cache)
        print(f"| run {' '.join(arguments)} | {seconds / 60:.1f} | {peak:.0f} |", flush=True)


def is_embedded(zoo: str) -> bool:
    """Whether a zoo's weights come with the package: its own, or those of the zoo whose base it shares."""
    config = read_zoo(zoo)
    return bool(config.weights) or (config.base in config_files("zoos") and is_embedded(config.base))


if __name__ == "__main__":
    main()
