"""A result: what a cell was, what it gave in integer counts, what it cost, and everything needed to get it again."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field

from mergebench.configuration import file_name
from mergebench.weights.states import writing

SCHEMA_VERSION = 1
# The axes of a suite's own variants; any other axis of a point is a study's.
SUITE_AXES = ("tasks", "held_out", "corruption", "severity", "order", "step", "expert")


class TaskScore(BaseModel):
    """Counts on one task's test split.

    Args:
        correct, total: images classified correctly, and all.
        expert_correct: images the task's own expert classifies correctly; None if it was not measured.
        predictions: SHA-256 (16 hex digits) of the per-sample predictions.
    """

    model_config = ConfigDict(extra="forbid")
    correct: int = Field(ge=0)
    total: int = Field(gt=0)
    expert_correct: int | None = None
    predictions: str

    @property
    def accuracy(self) -> float:
        """Fraction correct."""
        return self.correct / self.total

    @property
    def relative(self) -> float | None:
        """Accuracy as a fraction of the expert's; None without one."""
        return self.correct / self.expert_correct if self.expert_correct else None


class Cost(BaseModel):
    """What a phase took.

    Args:
        seconds: wall clock.
        peak_bytes: the most memory held above what was held at its start; None where it cannot be measured.
    """

    model_config = ConfigDict(extra="forbid")
    seconds: float
    peak_bytes: int | None


class Environment(BaseModel):
    """Where a result was measured."""

    model_config = ConfigDict(extra="forbid")
    device: str
    precision: str
    threads: int
    platform: str
    packages: dict[str, str]
    git_commit: str

    @property
    def device_kind(self) -> str:
        """The device without its number and name: cpu or cuda."""
        return self.device.split(" ")[0].partition(":")[0]


class Result(BaseModel):
    """One cell's outcome: the schema of every stored file.

    `source` is a hash of what the method's code and the engine's do, `engine` of the engine's alone, `starts` of every
    method's from whose result this one starts. `weights`, `data` and `drawn` are hashes of all that
    entered, `drawn` of the indices of the images a method was given, `drawn_images` their number. `merged` are the
    tasks whose experts entered, in sequence the earlier steps' too; `steps` is the number of all steps of the sequence.
    `variant` is the text of `point`: axis -> value, where a suite has several variants or a study varies something;
    `position` is its place among them, `varied` are the hyper-parameters that the study varies. `conditions` say in
    full what a variant's name stands for: what is merged after what, from whose images, in which part of which encoder,
    and what is evaluated. `tasks` are the scores on the test split; `validation` those on the validation split, where a
    study chooses on them. `tuned` says how a search chose the hyper-parameters, if one did: in how many trials, over
    which space, what the default and the chosen ones gave on the validation split. It is no part of the cell's
    identity: a cell that is there already gains it, and keeps it when it is reused. `origins` say from which commits of
    which of the hub's repositories weights and images came, as far as they did. `asked` is when a run last measured
    or reused it: of two results under one name, the one asked for last is what people look for.
    `average` and `average_relative` weigh all tasks the same; they are derived from the counts and stored for readers.
    """

    # A condition number may be infinite, which JSON cannot say but in words.
    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="strings")
    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["ok", "failed"]
    error: str | None = None
    method: str
    title: str
    paper: str
    role: str
    family: str
    needs: list[str]
    source: str
    starts: dict[str, str] = {}
    engine: str = ""
    hyperparameters: dict[str, Any]
    suite: str
    study: str = ""
    zoo: str
    variant: str
    point: dict[str, Any] = {}
    position: int = 0
    varied: list[str] = []
    conditions: dict[str, Any] = {}
    merged: list[str] = []
    steps: int = 0
    seed: int
    tasks: dict[str, TaskScore]
    validation: dict[str, TaskScore] = {}
    tuned: dict[str, Any] = {}
    weights: dict[str, str]
    data: dict[str, str]
    origins: dict[str, str] = {}
    drawn: dict[str, str]
    drawn_images: dict[str, int] = {}
    merge: Cost | None
    evaluation: Cost | None
    environment: Environment
    started: str
    asked: str = ""
    diagnostics: dict[str, Any] = {}

    @property
    def code(self) -> dict[str, str]:
        """Method -> hash of its code, for all whose code this result depends on."""
        return {self.method: self.source, **self.starts}

    @property
    def encoder_source(self) -> str:
        """Hash of the code of the zoo's encoder; empty where timm makes it."""
        return self.conditions.get("zoo", {}).get("encoder_source", "")

    @property
    def last_asked(self) -> tuple[str, str]:
        """What results are ordered by, the oldest first."""
        return self.asked or self.started, self.started

    @computed_field
    @property
    def average(self) -> float | None:
        """Mean accuracy over tasks."""
        return float(np.mean([t.accuracy for t in self.tasks.values()])) if self.tasks else None

    @computed_field
    @property
    def average_relative(self) -> float | None:
        """Mean over tasks of the accuracy relative to the expert's."""
        relative = [t.relative for t in self.tasks.values()]
        return float(np.mean(relative)) if relative and None not in relative else None


@dataclass(frozen=True)
class CellKey:
    """The identity of a cell: with the same packages on one machine, the same key is the same result, bit for bit."""

    method: str
    source: str
    starts: Mapping[str, str]
    hyperparameters: Mapping[str, Any]
    suite: str
    study: str
    zoo: str
    variant: str
    conditions: Mapping[str, Any]
    seed: int
    weights: Mapping[str, str]
    data: Mapping[str, str]
    device: str

    @property
    def digest(self) -> str:
        """The key's SHA-256, first 12 hex digits."""
        text = json.dumps([SCHEMA_VERSION, vars(self)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class ResultStore:
    """Results in a folder: `cells/<suite>/<method>-s<seed>-<digest>.json`, predictions beside them as `.npz`.

    A study's results lie in `cells/<study>@<suite>/`.

    Args:
        out: the run's folder.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)

    def path(self, key: CellKey) -> Path:
        """The file of a cell."""
        method = "".join(c if c.isalnum() or c in "._-+" else "_" for c in key.method)
        folder = file_name(f"{key.study}@{key.suite}" if key.study else key.suite)
        return self.out / "cells" / folder / f"{file_name(f'{method}-s{key.seed}-{key.digest}')}.json"

    def finished(self, key: CellKey) -> Result | None:
        """The cell's result if it is there and well; None if it must be computed (missing, failed, unreadable)."""
        result = read_result(self.path(key))
        return result if result and result.status == "ok" else None

    def write(self, key: CellKey, result: Result, predictions: Mapping[str, np.ndarray]) -> Path:
        """Store a result, predictions first, so that a JSON file never lacks its side file.

        Raises:
            MergebenchError: the folder cannot be written.
        """
        path = self.path(key)
        if predictions:
            with writing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **predictions)
        with writing(path) as temporary:
            temporary.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path

    def all(self) -> Iterator[Result]:
        """Every readable result in the folder, by path."""
        for path in sorted(self.out.glob("cells/*/*.json")):
            result = read_result(path)
            if result is not None:
                yield result


def read_result(path: Path) -> Result | None:
    """A stored result, or None if there is none or the file is damaged."""
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
