"""Making a submission of a finished run: one JSON file, and the predictions beside it."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mergebench.catalogue.code import Code as Sources
from mergebench.errors import MergebenchError
from mergebench.measuring.facts import Environment, TaskScore
from mergebench.measuring.measure import environment
from mergebench.measuring.proof import LABELS, class_ids, write_predictions
from mergebench.measuring.results import Result, ResultStore
from mergebench.measuring.secrets import named_in, without_secrets
from mergebench.merging.method import MethodCard
from mergebench.running.planned import Cell, Plan
from mergebench.submissions.reading import EXPERTS, Read, read, validated
from mergebench.submissions.schema import SCHEMA_VERSION
from mergebench.submissions.text import Refused, parsed
from mergebench.weights.writing import writing

NOWHERE = "0" * 64  # in place of what is known only after the run, where fields are tried before it
Fields = dict[str, Any]


@dataclass(frozen=True)
class Draft:
    """What is known of a submission before anything is measured.

    Args:
        plan: its cells: the ceiling's and the method's, a seed after the other.
        fields: all but the results.
    """

    plan: Plan
    fields: Fields

    @property
    def cells(self) -> list[Cell]:
        """The method's cells, one for every seed."""
        return [c for c in self.plan.cells if c.card.role == "method"]


def draft(plan: Plan, submitter: Mapping[str, str]) -> Draft:
    """Everything that can be refused before the run.

    Args:
        plan: of one method on a suite of one variant.
        submitter: see `schema.Submitter`.

    Raises:
        MergebenchError: it is no such plan, or holds what a submission cannot.
    """
    methods = {c.card.name: c for c in plan.cells if c.card.role == "method"}
    if len(methods) != 1:
        raise MergebenchError("a submission is of one method, and of no reference; name one")
    bench = plan.workbench
    if len({c.variant.name for c in plan.cells}) != 1 or bench.study:
        raise MergebenchError(f"suite {bench.name!r} has several variants; submit on a suite of one, as tiny-8")
    (cell,) = methods.values()
    card, key = cell.card, cell.key
    given = {
        "schema_version": SCHEMA_VERSION,
        "benchmark": {
            "suite": bench.name,
            "version": bench.suite.version,
            "zoo": bench.zoo.name,
            "conditions": dict(key.conditions),
            "merged": list(cell.variant.merged),
            "weights": dict(key.weights),
            "data": dict(key.data),
            "origins": without_secrets(bench.zoo.origins({*cell.variant.merged, *cell.variant.evaluate})),
        },
        "method": {
            "name": card.name,
            "title": card.title,
            "paper": card.paper or "",
            "year": card.year or 0,
            "fidelity": card.fidelity or "",
            "family": cell.needs.family,
            "needs": cell.needs.names(),
            "hyperparameters": cell.hyperparameters,
            "source": key.source,
            "engine": cell.engine,
            "starts": dict(key.starts),
        },
        "code": _code(card),
        "submitter": dict(submitter),
        "environment": machine(environment(plan.device, plan.precision)),
    }
    _try(given, cell)
    return Draft(plan, given)


def _code(card: MethodCard) -> Fields | None:
    """A method's own file; None of one that is installed."""
    if card.module is not None:
        return None
    sources = Sources()
    own = {part.module.path for part in sources.reached([sources.of_method(card)]) if not part.module.ours}
    others = sorted(path.name for path in own if path != Path(card.path))
    if others:
        raise MergebenchError(
            f"{Path(card.path).name} imports {', '.join(others)}, but a submission holds one file: put it in there"
        )
    # Bytes, not text: Python would read other line ends as these, and the hash would be of another file.
    text = Path(card.path).read_bytes().decode("utf-8")
    return {"function": card.function, "sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text}


def machine(where: Environment) -> Fields:
    """The environment, with the processor: the same packages give other bits on another."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(errors="replace").splitlines() if about.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return where.model_dump() | {"processor": model, "capability": torch.backends.cpu.get_cpu_capability()}


def _try(given: Fields, cell: Cell) -> None:
    """Hold all that is known already to the schema, with made-up results in place of those to come."""
    score = {"total": 1, "correct": 0, "predictions": NOWHERE[:16]}
    tasks = dict.fromkeys(cell.variant.evaluate, score)
    cost = {"seconds": 0.0, "peak_bytes": None}
    run = {"seed": 0, "merged": NOWHERE[:16], "tasks": tasks, "merge": cost, "evaluation": cost}
    run["started"] = "2000-01-01T00:00:00+00:00"
    made_up = {"experts": tasks, "results": [run], "predictions": {"sha256": NOWHERE}}
    try:
        validated(parsed(_as_text(given | made_up).encode()))
    except Refused as reason:
        raise MergebenchError(f"this cannot be submitted: {reason}") from None


def _as_text(fields: Fields) -> str:
    """What is written; raises a MergebenchError where a secret of this machine's stands in it, a method's file too."""
    for name, value in fields.items():
        if variable := named_in(json.dumps(value, ensure_ascii=False)):
            raise MergebenchError(
                f"this cannot be submitted: {name} holds the value of the environment's {variable}, and submissions "
                "are public; take it out"
            )
    return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def pack(made: Draft, store: ResultStore, path: Path) -> Read:
    """Write a submission of a run's stored results, and read it as whoever verifies it does.

    Args:
        made: the draft, all of whose cells are stored.
        store: where they are.
        path: of the JSON file; the predictions' lies beside it.

    Raises:
        MergebenchError: a cell is lacking, was measured elsewhere, or the place cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    runs = []
    for cell in made.cells:
        result = _stored(store, cell, made)
        found, right = _arrays(store.path(cell.key).with_suffix(".npz"), result.tasks)
        arrays |= {f"s{cell.seed}/{task}": ids for task, ids in found.items()}
        labels |= right
        facts = {name: getattr(result, name) for name in ("drawn", "drawn_images", "started")}
        costs = {name: getattr(result, name).model_dump() for name in ("merge", "evaluation")}
        runs.append(
            {"seed": cell.seed, "merged": result.merged_weights, "tasks": _scores(result.tasks), **facts, **costs}
        )
    ceiling = next(c for c in made.plan.cells if c.card.role == "ceiling")
    experts = _stored(store, ceiling, made).tasks
    found, _ = _arrays(store.path(ceiling.key).with_suffix(".npz"), experts)
    arrays |= {f"{EXPERTS}{task}": ids for task, ids in found.items()}
    beside = path.with_suffix(".npz")
    write_predictions(beside, arrays, labels)
    predictions = {"sha256": hashlib.sha256(beside.read_bytes()).hexdigest()}
    fields = made.fields | {"experts": _scores(experts), "results": runs, "predictions": predictions}
    with writing(path) as temporary:
        temporary.write_text(_as_text(fields), encoding="utf-8")
    return read(path)


def _stored(store: ResultStore, cell: Cell, made: Draft) -> Result:
    """A cell's result, which must be of this machine: what is told of it is told of all."""
    result = store.finished(cell.key)
    who = f"{cell.card.name} (seed {cell.seed})"
    if result is None:
        raise MergebenchError(f"{who} has no result in {store.out} that holds; run it again")
    if not result.merged_weights:
        raise MergebenchError(
            f"{who} in {store.out} was measured before results noted which weights they are of; give another --out"
        )
    there = result.environment.model_dump(exclude={"git_commit"})
    other = [name for name, value in there.items() if made.fields["environment"][name] != value]
    if other:
        raise MergebenchError(
            f"{who} in {store.out} was measured in another environment ({', '.join(other)}); give another --out"
        )
    return result


def _arrays(path: Path, scores: Mapping[str, TaskScore]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Predictions and labels of a result that was read, and so held to its side file, just now."""
    with zipfile.ZipFile(path) as archive:
        predictions = {t: class_ids(archive, f"{t}.npy", s.total) for t, s in scores.items()}
        return predictions, {t: class_ids(archive, f"{LABELS}{t}.npy", s.total) for t, s in scores.items()}


def _scores(scores: Mapping[str, TaskScore]) -> dict[str, Fields]:
    return {t: s.model_dump(include={"total", "correct", "predictions"}) for t, s in scores.items()}
