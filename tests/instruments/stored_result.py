"""A result of two tasks with made-up counts, as a run stores it."""

from pathlib import Path
from typing import Any

import numpy as np

from mergebench.measuring.facts import TaskScore
from mergebench.measuring.proof import count
from mergebench.measuring.results import CellKey, Cost, Environment, Result, ResultStore

LABELS = {"a": np.array([0, 1, 2, 1]), "file": np.array([0, 1])}
PREDICTED = {"a": np.array([0, 1, 2, 2]), "file": np.array([0, 0])}


def stored(folder: Path, **changed: Any) -> Path:
    """Writes it; gives its file.

    Args:
        folder: of the run.
        changed: fields of the result; `names`: what its two tasks are called.
    """
    names = dict(zip(LABELS, changed.pop("names", LABELS), strict=True))
    environment = Environment(device="cpu", precision="float32", threads=1, platform="p", packages={}, git_commit="")
    empty = {"hyperparameters": {"w": 0.5}, "weights": {}, "data": {}, "drawn": {}, "needs": [], "variant": ""}
    cost = {"merge": Cost(seconds=1, peak_bytes=1), "evaluation": Cost(seconds=1, peak_bytes=None)}
    named = {"method": "mine", "title": "mine", "paper": "", "role": "method", "family": "f", "source": "s"}
    where = {"suite": "two", "zoo": "z", "seed": 0, "environment": environment, "started": "2026", "status": "ok"}
    tasks = {names[task]: TaskScore(**count(PREDICTED[task], LABELS[task])._asdict()) for task in LABELS}
    fields = {"tasks": tasks, "diagnostics": {"c": float("inf")}, **named, **where, **cost, **empty} | changed
    result = Result(**fields)
    key = CellKey(result.method, "s", {}, {}, result.suite, "", result.zoo, "", {}, 0, {}, {}, "cpu")
    arrays = ({names[task]: ids for task, ids in some.items()} for some in (PREDICTED, LABELS))
    return ResultStore(folder).write(key, result, *arrays)
