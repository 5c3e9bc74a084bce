"""A submission of two tasks and two seeds whose numbers are made up, and whose counts follow from its predictions."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mergebench.measuring.proof import count, write_predictions

TASKS = {"digits": 30, "signs": 20}
CODE = '''from mergebench import ModelPool, Needs, StateDict, merge_method


@merge_method("halfway", title="Halfway", needs=Needs(base=True))
def halfway(pool: ModelPool, *, weight: float = 0.5) -> StateDict:
    """theta_0 + w (mean theta_t - theta_0)"""
    return pool.map_tensors(lambda base, experts: base + weight * (experts.mean(0) - base))
'''


def made_up() -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fields, predictions and labels."""
    rng = np.random.default_rng(0)
    labels = {task: rng.integers(0, 10, total) for task, total in TASKS.items()}

    def predicted(task: str, share: float) -> np.ndarray:
        right = rng.random(TASKS[task]) < share
        return np.where(right, labels[task], (labels[task] + 1) % 10)

    arrays = {f"s{seed}/{task}": predicted(task, 0.6) for seed in (0, 1) for task in TASKS}
    arrays |= {f"experts/{task}": predicted(task, 0.9) for task in TASKS}

    def score(name: str) -> dict[str, Any]:
        return dict(count(arrays[name], labels[name.partition("/")[2]])._asdict())

    cost = {"seconds": 0.5, "peak_bytes": 1000}
    runs = [
        {
            "seed": seed,
            "merged": f"{seed:016x}",
            "tasks": {task: score(f"s{seed}/{task}") for task in TASKS},
            "merge": cost,
            "evaluation": cost,
            "started": f"2026-01-01T00:00:0{seed}+00:00",
        }
        for seed in (0, 1)
    ]
    hashes = {"base": "b" * 16} | {f"experts/{task}": "e" * 16 for task in TASKS}
    fields = {
        "schema_version": 1,
        "benchmark": {
            "suite": "two", "version": 1, "zoo": "tiny", "conditions": {"evaluate": list(TASKS)},
            "merged": list(TASKS), "weights": hashes, "data": {f"{task}/test": "d" * 16 for task in TASKS},
        },
        "method": {
            "name": "halfway", "title": "Halfway", "paper": "", "family": "data-free", "needs": ["base"],
            "hyperparameters": {"weight": 0.5}, "source": "a" * 16, "engine": "c" * 16,
        },
        "code": {"function": "halfway", "text": CODE, "sha256": hashlib.sha256(CODE.encode()).hexdigest()},
        "submitter": {"author": "A. Author", "licence": "MIT", "implementation": "authors"},
        "environment": {
            "device": "cpu (x86_64)", "precision": "float32", "threads": 2, "platform": "Linux x86_64, Python 3.11.2",
            "packages": {"torch": "2.9.1"}, "git_commit": "", "processor": "some", "capability": "AVX2",
        },
        "experts": {task: score(f"experts/{task}") for task in TASKS},
        "results": runs,
    }  # fmt: skip
    return fields, arrays, labels


@pytest.fixture
def submission(tmp_path: Path) -> SimpleNamespace:
    """Fields, predictions and labels that may be changed; `write()` gives the file, `text()` what stands in it."""
    fields, arrays, labels = made_up()
    made = SimpleNamespace(fields=fields, arrays=arrays, labels=labels, folder=tmp_path, path=tmp_path / "sub.json")

    def put(fields: Any = None) -> Path:
        beside = made.path.with_suffix(".npz")
        write_predictions(beside, made.arrays, made.labels)
        made.fields["predictions"] = {"sha256": hashlib.sha256(beside.read_bytes()).hexdigest()}
        made.path.write_text(json.dumps(made.fields if fields is None else fields))
        return made.path

    made.write = put
    return made


@pytest.fixture
def change(submission: SimpleNamespace) -> Callable[[str, Any], Path]:
    """Writes the submission with one field changed, by its path ("results.0.seed"); `...` takes the field away."""

    def to(path: str, value: Any) -> Path:
        submission.write()
        fields = copy.deepcopy(submission.fields)
        *way, last = path.split(".")
        at = fields
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if value is ...:
            del at[last]
        elif isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
        return submission.write(fields)

    return to
