"""A run's folder made by hand: results that prove what they say, without merging anything."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from mergebench.leaderboard.shown import shown
from mergebench.measuring.facts import Cost, Environment, TaskScore
from mergebench.measuring.proof import count
from mergebench.measuring.results import CellKey, Result, ResultStore
from mergebench.running.audit import Audit, audit
from mergebench.tuning.trials import Trial, check, write

COST = {"merge": Cost(seconds=1, peak_bytes=1), "evaluation": Cost(seconds=1, peak_bytes=None)}
NOTHING: dict[str, Any] = {"hyperparameters": {}, "weights": {}, "data": {}, "drawn": {}, "needs": [], "variant": ""}
PLACE = Environment(device="cpu", precision="float32", threads=1, platform="p", packages={}, git_commit="")


class RunFolder:
    """Puts files into a folder.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out, self._asked = Path(out), 0

    def put(self, method: str = "mine", correct: int = 3, *, source: str = "s", seed: int = 0, **facts: Any) -> str:
        """Store a result of two tasks, each newer than the one before; gives its place."""
        self._asked += 1
        named = {"method": method, "title": method.title(), "paper": "", "role": "method", "family": "data-free"}
        where = {"suite": "two", "zoo": "z", "seed": seed, "environment": PLACE, "source": source}
        when = {"started": f"2026-01-01T00:00:{self._asked:02}", "asked": f"2026-01-02T00:00:{self._asked:02}"}
        facts = {**named, **where, **when, **COST, **NOTHING, "status": "ok", **facts}
        labels = {"a": np.array([0, 1, 2, 1]), "b": np.array([0, 1])}
        answers = {"a": np.where(np.arange(4) < correct, labels["a"], 3), "b": np.array([0, 0])}
        tasks = {t: TaskScore(**count(answers[t].astype(np.uint16), labels[t])._asdict()) for t in labels}
        well = facts["status"] == "ok"
        result = Result(**{**facts, "tasks": tasks if well else {}})
        plain = {name: getattr(result, name) for name in ("starts", "hyperparameters", "variant", "conditions")}
        key = CellKey(method, source, suite=result.suite, study=result.study, zoo="z", seed=seed, **plain,
                      weights=result.weights, data=result.data, device="cpu")  # fmt: skip
        store = ResultStore(self.out)
        path = store.write(key, result, answers if well else {}, labels if well else {})
        return str(path.relative_to(self.out))

    def trials(self, name: str = "mine-s0-0123456789ab.json", suite: str = "two", **search: Any) -> str:
        """Store the record of a search; gives its place."""
        write(self.out / "tuning" / suite / name, {"method": "mine", **search}, [Trial(number=0, settings={"x": 1})])
        return f"tuning/{suite}/{name}"

    def settings(self, name: str = "two-z.yaml", suite: str = "two") -> str:
        """Store a file of settings; gives its place."""
        return self.file(f"settings/{name}", f"suite: {suite}\nzoo: z\nmethods: {{}}\nnothing_to_tune: [mine]\n")

    def file(self, place: str, text: str = "") -> str:
        """Write any file."""
        path = self.out / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return place

    def lease(self, name: str = "cell", ttl: float = 120, age: float = 0) -> str:
        """Write a lease that was renewed so many seconds ago."""
        place = self.file(f"leases/{name}.lease", json.dumps({"host": "h", "pid": 1, "ttl": ttl}))
        then = time.time() - age
        os.utime(self.out / place, (then, then))
        return place

    def look(self) -> Audit:
        """Look it through."""
        return audit(self.out, shown, check)

    def there(self) -> set[str]:
        """The places of all files in it."""
        return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if not path.is_dir()}


def predictions_of(place: str) -> str:
    """What lies beside a result."""
    return place.removesuffix(".json") + ".npz"
