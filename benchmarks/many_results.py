"""What ten thousand results in one folder cost whoever looks at them.

Usage: python benchmarks/many_results.py --out FOLDER [--seeds 5] [--only NAME ...] [--json FILE]

The folder is filled first, unless it is there: 50 methods, each with 200 results of 20 tasks of 1,000 images, on ten
boards in two tracks and at the twenty points of a series, 5 seeds of each. Nothing is merged: predictions are drawn,
more of them right for some methods than for others; counts, checksums and keys are what they are of measured results.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from run_cost import cost_of

from mergebench.catalogue import registry
from mergebench.measuring.facts import Cost, Environment, TaskScore, beside
from mergebench.measuring.proof import count
from mergebench.measuring.results import CellKey, Result, ResultStore
from mergebench.merging.method import MethodCard

METHODS, TASKS, IMAGES, CLASSES = 50, tuple(f"task-{number:02}" for number in range(20)), 1000, 20
BOARDS, POINTS, ZOO = 10, 20, "made-up"
PLACE = Environment(
    device="cpu", precision="float32", threads=2, platform="made up", git_commit="",
    packages=dict.fromkeys(("torch", "timm", "torchvision", "lightning", "numpy", "mergebench"), "1.0"),
)  # fmt: skip
BUDGET = {"sampler": "TPE", "optuna": "4", "split": "validation", "fixed": {}, "seconds": 1.0, "failed": 0, "seed": 0}


class Made(NamedTuple):
    """One result that is to be: its cell, its method's card, and what a plan would add."""

    key: CellKey
    card: MethodCard
    place: dict
    tuned: dict


def made_up(seeds: int) -> Iterator[Made]:
    """All cells, the ceiling's first."""
    cards = sorted(registry.methods().values(), key=lambda card: card.role != "ceiling")
    cards = (cards * 2)[:METHODS]
    for number, card in enumerate(cards):
        name = card.name if number < len(registry.methods()) else f"{card.name}-again"
        card = MethodCard(name, card.title, paper=card.paper, role=card.role)
        for seed in range(seeds):
            for board in range(BOARDS):
                for tuned in (False, True):
                    scale = 0.5 + 0.01 * number if tuned else 0.3
                    yield _cell(card, f"board-{board}", {}, 0, seed, scale, tuned)
            for point in range(POINTS):
                yield _cell(card, "points", {"level": point}, point, seed, 0.3, False)


def _cell(card: MethodCard, suite: str, point: dict, position: int, seed: int, scale: float, tuned: bool) -> Made:
    hashes = {f"{task}/test": f"{number:016x}" for number, task in enumerate(TASKS)}
    weights = {name: f"{number:016x}" for number, name in enumerate(("base", *TASKS))}
    variant = ",".join(f"{axis}={value}" for axis, value in point.items())
    conditions = {"zoo": {"mean": [0.5] * 3, "std": [0.5] * 3}, "merge": list(TASKS), "evaluate": list(TASKS)}
    key = CellKey(
        card.name, "0" * 16, {}, {"scaling": scale, "samples": 256}, suite, "", ZOO, variant, conditions, seed,
        weights, hashes, "cpu",
    )  # fmt: skip
    space = {"space": {"scaling": [0.0, 1.0]}, "from": {"scaling": 0.3}}
    record = BUDGET | space | {"trials": 30, "default": 0.5, "best": 0.6, "trial": 7} if tuned else {}
    return Made(key, card, {"point": point, "position": position, "varied": [], "steps": 0, "checkpoints": {}}, record)


def fill(out: Path, seeds: int) -> int:
    """Write the results; gives how many there are."""
    store, random = ResultStore(out), np.random.default_rng(0)
    labels = {task: random.integers(0, CLASSES, IMAGES).astype(np.uint16) for task in TASKS}
    skill = {}
    ceilings: dict[tuple[str, str, int], dict[str, TaskScore]] = {}
    number = 0
    for made in made_up(seeds):
        key, card = made.key, made.card
        level = skill.setdefault(card.name, random.uniform(0.3, 0.9)) + 0.02 * bool(made.tuned)
        drawn = random.integers(0, CLASSES, (len(TASKS), IMAGES)).astype(np.uint16)
        right = random.random((len(TASKS), IMAGES)) < level
        answers = {t: np.where(r, labels[t], d) for t, r, d in zip(TASKS, right, drawn, strict=True)}
        scores = {t: TaskScore(**count(answers[t], labels[t])._asdict()) for t in TASKS}
        same = (key.suite, key.variant, key.seed)
        if card.role == "ceiling":
            ceilings.setdefault(same, scores)
        cost = {name: Cost(seconds=float(random.uniform(1, 100)), peak_bytes=10**8) for name in ("merge", "evaluation")}
        facts = {name: value for name, value in vars(key).items() if name != "device"}
        when = f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
        result = Result(
            status="ok", title=card.title, paper=card.paper, role=card.role, family="data-free", needs=["base"],
            tasks=beside(scores, ceilings[same]), merged=list(TASKS), drawn={}, environment=PLACE, started=when,
            tuned=made.tuned, diagnostics={"tensors": 152}, **facts, **made.place, **cost,
        )  # fmt: skip
        store.write(key, result, answers, labels)
        number += 1
    return number


def look_through(out: Path, seeds: int) -> dict[str, tuple[float, float]]:
    """What a run of a plan whose cells are all done takes: seconds by the clock and of the processor, step by step."""
    from mergebench.cli.stores import store_of
    from mergebench.merging.method import Needs
    from mergebench.running.planned import Cell, Plan
    from mergebench.running.runner import look, run
    from mergebench.suites.variant import Variant

    os.environ["MERGEBENCH_CACHE"] = str(out / "cache")
    variant = Variant(TASKS, TASKS)
    cells = [
        Cell(m.card, lambda pool: {}, dict(m.key.hyperparameters), Needs(), m.key.seed, variant, m.key, "", m.place)
        for m in made_up(seeds)
    ]
    plan, store, costs = Plan(None, cells, "cpu"), store_of(out), {}
    begun = time.perf_counter(), time.process_time()
    found = look(plan, store)
    if not all(result for result, _ in found):
        raise SystemExit("the folder lacks some of the results: fill another one")
    costs["run, all cells done: looking through"] = _since(begun)
    begun = time.perf_counter(), time.process_time()
    run(plan, store, stored=found)
    costs["run, all cells done: noting when"] = _since(begun)
    return costs


def _since(begun: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def main() -> None:
    """Fill, measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], help="of the commands")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    out = str(options.out)
    if not (options.out / "cells").exists():
        print(f"{fill(options.out, options.seeds):,} results are written", flush=True)
    a, b = (card.name for card in list(registry.methods().values())[5:7])
    commands = {
        "runs check, for the first time": ["runs", "check", "--out", out],
        "runs check": ["runs", "check", "--out", out],
        "leaderboard, of one board": ["leaderboard", "--out", out, "--suite", "board-0"],
        "leaderboard once more": ["leaderboard", "--out", out, "--suite", "board-0"],
        "table": ["table", "--out", out, "--suite", "board-0"],
        "compare": ["compare", f"{a}:scaling=0.3", f"{b}:scaling=0.3", "--out", out, "--suite", "board-0"],
    }
    costs = {}
    print("| what | seconds | of the processor | peak MB |\n|---|---:|---:|---:|")
    for name, command in commands.items():
        if not options.only or name in options.only:
            cost = costs[name] = cost_of(command, str(options.out / "cache"))
            print(f"| {name} | {cost.seconds:.1f} | {cost.processor:.1f} | {cost.peak:.0f} |", flush=True)
    if not options.only or "run" in options.only:
        for name, (seconds, processor) in look_through(options.out, options.seeds).items():
            print(f"| {name} | {seconds:.1f} | {processor:.1f} | |", flush=True)
    if options.json:
        options.json.write_text(json.dumps({name: cost._asdict() for name, cost in costs.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
