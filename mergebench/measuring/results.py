"""A result: what a cell was, what it gave in integer counts, what it cost, and everything needed to get it again."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    computed_field,
    field_validator,
    model_validator,
)

from mergebench.configuration import file_name
from mergebench.measuring.facts import Cost, Environment, TaskScore, Tuned, Value
from mergebench.measuring.keys import SCHEMA_VERSION, CellKey
from mergebench.measuring.moving import move_aside
from mergebench.measuring.proof import Unproven, read_stored, write_predictions
from mergebench.measuring.recounts import Recounts
from mergebench.weights.sealed import checksum
from mergebench.weights.undisturbed import undisturbed
from mergebench.weights.writing import alone, make_folder, refusal, writing

# The axes of a suite's own variants; any other axis of a point is a study's.
SUITE_AXES = ("tasks", "held_out", "corruption", "severity", "order", "step", "expert")
Role = Literal["method", "floor", "ceiling", "joint"]
ASIDE = "set-aside"  # the folder of results that did not prove what they say


class Listing(NamedTuple):
    """Where a result is from that somebody submitted: the submission's name, who stands for it, how far it is held."""

    name: str
    author: str
    tier: str


class Result(BaseModel):
    """One cell's outcome: the schema of every stored file.

    `source` is a hash of what the method's code and the engine's do, `engine` of the engine's alone, `starts` of every
    method's from whose result this one starts. `weights`, `data` and `drawn` are hashes of all that
    entered, `drawn` of the indices of the images a method was given, `drawn_images` their number. `merged` are the
    tasks whose experts entered, in sequence the earlier steps' too, `merged_weights` is the hash of the weights that
    came of them; `steps` is the number of all steps of the sequence.
    `variant` is the text of `point`: axis -> value, where a suite has several variants or a study varies something;
    `position` is its place among them, `varied` are the hyper-parameters that the study varies. `conditions` say in
    full what a variant's name stands for: what is merged after what, from whose images, in which part of which encoder,
    and what is evaluated. `tasks` are the scores on the test split; `validation` those on the validation split, where a
    study chooses on them. `tuned` says how a search chose the hyper-parameters, if one did: in how many trials, over
    which space, what the default and the chosen ones gave on the validation split. It is no part of the cell's
    identity: a cell that is there already gains it, and keeps it when it is reused. `given` are the published values in
    whose place somebody gave others. `origins` say from which commits of which of the hub's repositories weights and
    images came, as far as they did. `checkpoints` say which backbone's and which published family's the weights are, as
    far as the zoo states it. `duplicates` tell what splits of a task share, where that was allowed. `where` is the line
    of the method's own code in which a failed cell failed, and `traceback` the whole way there. `cell` is the key's
    digest and `checksum` one over all else, see `proof`. `asked` is when a run last measured or reused it: of two
    results under one name, the one asked for last is what people look for.
    `average` and `average_relative` weigh all tasks the same; they are derived from the counts and stored for readers.
    """

    # A condition number may be infinite, which JSON cannot say but in words.
    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="strings")
    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["ok", "failed"]
    error: str | None = None
    where: str = ""
    traceback: str = ""
    method: str
    title: str
    paper: str
    role: Role
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
    point: dict[str, Value | list[Value]] = {}
    position: int = 0
    varied: list[str] = []
    conditions: dict[str, Any] = {}
    merged: list[str] = []
    steps: int = 0
    seed: int
    tasks: dict[str, TaskScore]
    validation: dict[str, TaskScore] = {}
    tuned: dict[str, Any] = {}
    given: dict[str, Any] = {}
    weights: dict[str, str]
    data: dict[str, str]
    origins: dict[str, str] = {}
    checkpoints: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    drawn: dict[str, str]
    drawn_images: dict[str, int] = {}
    merged_weights: str = ""
    merge: Cost | None
    evaluation: Cost | None
    environment: Environment
    started: str
    asked: str = ""
    diagnostics: dict[str, Any] = {}
    cell: str = ""
    checksum: str = ""
    _proven: bool = PrivateAttr(default=True)
    _listing: Listing | None = PrivateAttr(default=None)
    _right: dict[str, np.ndarray] | None = PrivateAttr(default=None)  # of `hits`, eight images a byte

    @field_validator("point")
    @classmethod
    def _step(cls, point: dict[str, Any]) -> dict[str, Any]:
        if type(point.get("step", 0)) is not int:
            raise ValueError(f"step {point['step']!r} is no number")
        return point

    @field_validator("conditions")
    @classmethod
    def _sections(cls, conditions: dict[str, Any]) -> dict[str, Any]:
        for section in ("zoo", "calibration", "restrict"):
            given = conditions.get(section, {})
            if not isinstance(given if section == "zoo" else given or {}, Mapping):
                raise ValueError(f"{section} {conditions[section]!r} is no section")
        return conditions

    @field_validator("tuned")
    @classmethod
    def _record(cls, tuned: dict[str, Any]) -> dict[str, Any]:
        if tuned:
            Tuned.model_validate(tuned)
        return tuned

    @model_validator(mode="after")
    def _measured(self) -> "Result":
        if self.status == "ok" and not (self.tasks and self.merge and self.evaluation):
            raise ValueError("neither failed nor measured")
        return self

    @property
    def proven(self) -> bool:
        """False of one that was stored before results held proof of what they say."""
        return self._proven

    def hits(self) -> dict[str, np.ndarray] | None:
        """Which test images are classified correctly, task -> [N] bool, as stored; None where that is not known."""
        if self._right is None:
            return None
        sizes = {task: self.tasks[task].total for task in self._right}
        return {t: np.unpackbits(bits, count=sizes[t]).view(bool) for t, bits in self._right.items()}

    @property
    def listing(self) -> Listing | None:
        """Which submission it is of; None of one that was measured here. No file of a result can say it."""
        return self._listing

    def listed(self, listing: Listing, hits: dict[str, np.ndarray] | None = None) -> "Result":
        """The same result, as a submission's.

        Args:
            listing: of the submission.
            hits: task -> [N] bool, as `hits` gives them.
        """
        found = self.model_copy()
        found._listing, found._right = listing, hits and {task: np.packbits(right) for task, right in hits.items()}
        return found

    def retold(self, content: Mapping[str, Any]) -> "Result":
        """The same result in other words: what its file says otherwise, with the same predictions behind it."""
        found = Result.model_validate(content)
        found._proven, found._right = self._proven, self._right
        return found

    @property
    def failure(self) -> str:
        """Why it failed, and where in the method's own code."""
        return f"{self.error} (at {self.where})" if self.where else str(self.error)

    @property
    def code(self) -> dict[str, str]:
        """Method -> hash of its code, for all whose code this result depends on."""
        return {self.method: self.source, **self.starts}

    @property
    def encoder_source(self) -> str:
        """Hash of the code of the zoo's encoder; empty where timm makes it."""
        source: str = self.conditions.get("zoo", {}).get("encoder_source", "")
        return source

    @property
    def last_asked(self) -> tuple[str, str]:
        """What results are ordered by, the oldest first."""
        return self.asked or self.started, self.started

    @computed_field  # type: ignore[prop-decorator]
    @property
    def average(self) -> float | None:
        """Mean accuracy over tasks."""
        return float(np.mean([t.accuracy for t in self.tasks.values()])) if self.tasks else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def average_relative(self) -> float | None:
        """Mean over tasks of the accuracy relative to the expert's."""
        relative = [share for t in self.tasks.values() if (share := t.relative) is not None]
        return float(np.mean(relative)) if relative and len(relative) == len(self.tasks) else None


class ResultStore:
    """Results in a folder: `cells/<suite>/<method>-s<seed>-<digest>.json`, predictions beside them as `.npz`.

    A study's results lie in `cells/<study>@<suite>/`. What does not prove what it says is no result: it is told, and
    when it is measured again, moved to `set-aside/`.

    Args:
        out: the run's folder.
        counts: where what follows from its predictions is kept; they are read whenever a result is, if not given.
    """

    def __init__(self, out: str | Path, counts: Path | None = None) -> None:
        self.out, self.recounts = Path(out), Recounts(counts)

    def path(self, key: CellKey) -> Path:
        """The file of a cell."""
        method = "".join(c if c.isalnum() or c in "._-+" else "_" for c in key.method)
        folder = file_name(f"{key.study}@{key.suite}" if key.study else key.suite)
        return self.out / "cells" / folder / f"{file_name(f'{method}-s{key.seed}-{key.digest}')}.json"

    def look(self, key: CellKey) -> tuple[Result | None, str]:
        """The cell's result, if it is there and well; else why it is not, if there is something in its place."""
        path = self.path(key)
        if not os.path.lexists(path):
            return None, ""
        try:
            result = self._read(key)
        except Unproven as reason:
            return None, f"{path} is set aside: {reason}"
        return (result if result.status == "ok" else None), ""

    def latest(self, key: CellKey) -> Result | None:
        """The cell's result if it is there and well, also one that failed."""
        try:
            return self._read(key)
        except Unproven:
            return None

    def _read(self, key: CellKey) -> Result:
        result = read_result(self.path(key), self.recounts)
        _check_key(result, key)
        return result

    def finished(self, key: CellKey) -> Result | None:
        """The cell's result if it is there and well; None if it must be computed (missing, failed, not proven)."""
        return self.look(key)[0]

    def write(
        self,
        key: CellKey,
        result: Result,
        predictions: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray] | None = None,
    ) -> Path:
        """Store a result, predictions first, so that a JSON file never lacks its side file.

        What was set aside in its place is kept, in the folder `set-aside`.

        Args:
            key: the cell's.
            result: just measured.
            predictions, labels: task -> class ids [N], from which its counts follow.

        Raises:
            MergebenchError: the folder cannot be written.
        """
        path = self.path(key)
        # The two files belong together, whoever else writes them and whatever signal comes.
        with undisturbed():
            try:
                make_folder(path.parent)
            except OSError as error:
                raise refusal(f"cannot write {path}", error) from None
            with alone(path.parent):
                if self.look(key)[1]:
                    self.set_aside(path)
                if predictions:
                    write_predictions(path.with_suffix(".npz"), predictions, labels or {})
                return self._put(path, result.model_copy(update={"cell": key.digest, "checksum": "-"}))

    def update(self, key: CellKey, result: Result) -> Path:
        """Write again a result that was stored before, with other facts about it; it proves no more than it did.

        Raises:
            MergebenchError: the folder cannot be written.
        """
        return self._put(self.path(key), result, lasting=False)

    @staticmethod
    def _put(path: Path, result: Result, lasting: bool = True) -> Path:
        if result.checksum:
            content = json.loads(result.model_dump_json())
            result = result.model_copy(update={"checksum": checksum(content)})
        with writing(path, lasting) as temporary:
            temporary.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path

    def set_aside(self, path: Path) -> None:
        """Move a file that does not prove what it says, with its side file, to `set-aside/`, beside what is there.

        Raises:
            MergebenchError: the folder cannot be written.
        """
        move_aside(path, self.out / ASIDE / path.parent.name / path.name)

    def all(self) -> Iterator[Result]:
        """Every result in the folder that is well, by path."""
        return iter(self.survey()[0])

    def survey(self, tell: Callable[[str, int, int], None] | None = None) -> tuple[list[Result], list[str]]:
        """Results that are well, by path, and a sentence for every other file; `tell` hears how many are read."""
        results, told = [], []
        paths = sorted(self.out.glob("cells/*/*.json"))
        for number, (path, found) in enumerate(read_results(paths, self.recounts)):
            if tell:
                tell("results", number, len(paths))
            if isinstance(found, Unproven):
                told.append(f"{path} is set aside: {found}; the run that made it makes it again")
            else:
                results.append(found)
        return results, told


def read_results(paths: Sequence[Path], recounts: Recounts) -> Iterator[tuple[Path, Result | Unproven]]:
    """Stored results in the order of their files, held to what they say; of those that do not hold, the reason."""
    for path in paths:
        try:
            yield path, read_result(path, recounts)
        except Unproven as reason:
            yield path, reason
    recounts.keep([path.with_suffix(".npz") for path in paths])


def read_result(path: Path, recounts: Recounts | None = None) -> Result:
    """A stored result, held to its checksum and to its predictions.

    Args:
        path: the file.
        recounts: what follows from the predictions of its folder, as far as it is known.

    Raises:
        Unproven: it is no result, or says what does not follow from its predictions.
    """
    result = read_stored(path, Result, "result")
    if result.checksum and not path.stem.endswith(f"-{result.cell}"):
        raise Unproven(f"it is another cell's result, {result.cell}'s")
    result._proven = bool(result.checksum)
    result._right = _recounted(path.with_suffix(".npz"), result, recounts or Recounts())
    return result


def _recounted(path: Path, result: Result, recounts: Recounts) -> dict[str, np.ndarray] | None:
    """Which images its predictions have right, as `_right` holds them; None where labels or predictions are not there.

    Kept from the one reading that a result is held to: statistics look at them, and files may go meanwhile.

    Raises:
        Unproven: its counts do not follow from its predictions.
    """
    # Results from before there was a checksum may have been moved without their predictions.
    if not result.tasks or not (result.checksum or path.exists()):
        return None
    right = {}
    for task, (found, bits) in recounts.of(path, {t: s.total for t, s in result.tasks.items()}).items():
        score = result.tasks[task]
        if found.predictions != score.predictions:
            raise Unproven(f"the predictions beside it are not those that were counted (task {task!r})")
        if found.correct is None and result.checksum:
            raise Unproven(f"the predictions beside it come without labels (task {task!r})")
        if found.correct is not None and found.correct != score.correct:
            raise Unproven(f"it says {score.correct} correct of task {task!r}, its predictions {found.correct}")
        if bits is not None:
            right[task] = bits
    return right if right.keys() == result.tasks.keys() else None


def _check_key(result: Result, key: CellKey) -> None:
    """Refuses, as `Unproven`, another cell's result."""
    if result.checksum and result.cell != key.digest:
        raise Unproven(f"it is another cell's result, {result.cell}'s")
    for name in ("method", "source", "suite", "study", "zoo", "variant", "seed", "weights", "data"):
        theirs, ours = getattr(result, name), getattr(key, name)
        if theirs != (dict(ours) if isinstance(ours, Mapping) else ours):
            raise Unproven(f"it is another cell's result: its {name} is another")
