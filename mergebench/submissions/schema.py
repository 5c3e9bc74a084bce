"""What a submission holds: the fields of its JSON file, from which the published JSON Schema is made."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator

from mergebench.measuring.facts import Cost, Environment

SCHEMA_VERSION: Final = 1
# The largest suites have 20 tasks and the largest test split (SUN397's and ImageNet's) some 50,000 images: far above
# any of them, and all predictions together are still held to `reading.ARRAYS`.
TASKS, SEEDS, IMAGES = 200, 20, 1_000_000
CODE = 100_000  # characters of a method's file; the longest of ours has 8,000
# Characters of settings and of conditions as JSON, and packages: boards print them. Ours take a tenth at most.
SETTINGS, CONDITIONS, PACKAGES = 4_000, 100_000, 200

# No name is a path: it begins with a letter or digit, no dot follows another, and there is no slash in it.
WORD = r"[A-Za-z0-9]+(?:[._+-][A-Za-z0-9]+)*\+*"
Name = Annotated[str, Field(pattern=f"^{WORD}$", max_length=80)]
Part = Annotated[str, Field(pattern=f"^{WORD}(?:/{WORD})*$", max_length=1000)]  # "experts/mnist", "mnist/test"
Hash16 = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Identifier = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=80)]
Line = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0, le=IMAGES)]


class Strict(BaseModel):
    """A section; a field that does not exist is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(Strict):
    """Counts on one task's test split.

    Args:
        total, correct: images, and those classified correctly.
        predictions: SHA-256 (16 hex digits) of the predicted class ids as little-endian 16-bit numbers.
    """

    total: Annotated[int, Field(ge=1, le=IMAGES)]
    correct: Count
    predictions: Hash16

    @field_validator("correct")
    @classmethod
    def _within(cls, correct: int, info: ValidationInfo) -> int:
        if correct > info.data.get("total", correct):
            raise ValueError(f"{correct} of {info.data['total']} images")
        return correct


Scores = Annotated[dict[Name, Score], Field(min_length=1, max_length=TASKS)]


class Benchmark(Strict):
    """On what was measured.

    Args:
        suite, version, zoo: "tiny-8" and 1: together the benchmark `tiny-8 v1`, on that zoo.
        conditions: what is merged, from which images, and how images are normalised.
        merged: the tasks whose experts are merged.
        weights, data: hashes of base, experts and heads, and of the images of every split that enters.
        origins: from which commits of the hub weights and images came.
    """

    suite: Name
    version: Annotated[int, Field(ge=1, le=1000)]
    zoo: Name
    conditions: dict[Line, JsonValue]
    merged: Annotated[list[Name], Field(min_length=1, max_length=TASKS)]
    weights: dict[Part, Hash16]
    data: dict[Part, Hash16]
    origins: dict[Part, Line] = {}

    @field_validator("conditions")
    @classmethod
    def _sections(cls, given: dict[str, Any]) -> dict[str, Any]:
        for section in ("zoo", "calibration", "restrict"):
            if not isinstance(given.get(section, {}), dict):
                raise ValueError(f"{section}: not a mapping of fields")
        return _short(given, CONDITIONS)


class Method(Strict):
    """What was measured, and the recipe of its merge.

    Args:
        name, title, paper, year, fidelity, family, needs: of its card.
        hyperparameters: all of them, resolved.
        source, engine, starts: hashes of what its code, the engine's, and that of methods it starts from do.
    """

    name: Name
    title: Annotated[str, Field(min_length=1, max_length=80)]
    paper: Line = ""
    year: Annotated[int, Field(ge=0, le=9999)] = 0
    fidelity: Line = ""
    family: Literal["data-free", "calibration", "test-time"]
    needs: Annotated[list[Identifier], Field(max_length=20)]
    hyperparameters: dict[Identifier, JsonValue]
    source: Hash16
    engine: Hash16
    starts: dict[Name, Hash16] = {}

    @field_validator("hyperparameters")
    @classmethod
    def _names_no_file(cls, given: dict[str, Any]) -> dict[str, Any]:
        # A method to start from may be named by its file: nobody else has it, or has something else there.
        if ".py" in json.dumps(given):
            raise ValueError("a value names a file of code; a submission holds its one file")
        return _short(given, SETTINGS)


def _short(given: dict[str, Any], most: int) -> dict[str, Any]:
    written = len(json.dumps(given))
    if written > most:
        raise ValueError(f"{written:,} characters as JSON; {most:,} at most")
    return given


class Code(Strict):
    """The file of a method that is no part of mergebench: one file, which imports none of the author's other files.

    Args:
        function: the method in it.
        sha256: of the text in UTF-8.
        text: the file.
    """

    function: Identifier
    sha256: Sha256
    text: Annotated[str, Field(min_length=1, max_length=CODE)]


class Submitter(Strict):
    """Who submits, and under what terms.

    Args:
        author: who stands for the numbers.
        licence: of code and numbers, as an SPDX name ("MIT", "CC-BY-4.0").
        implementation: the method's authors' own code, or somebody's re-implementation.
    """

    author: Line = ""
    licence: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9.+-]*)?$", max_length=60)] = ""
    implementation: Literal["authors", "re-implementation"] = "re-implementation"


class Machine(Environment):
    """Where it was measured, with what decides whether other bits come out elsewhere.

    Args:
        device, precision, platform, git_commit: as results have them.
        packages: name -> version.
        processor: its model, as the system names it; empty where it does not.
        capability: the instructions that torch uses ("AVX2", "AVX512").
    """

    device: Line
    precision: Line
    threads: Annotated[int, Field(ge=1, le=4096)]
    platform: Line
    packages: Annotated[dict[Line, Line], Field(max_length=PACKAGES)]
    git_commit: Line
    processor: Line = ""
    capability: Line = ""


class Run(Strict):
    """One seed.

    Args:
        seed: of everything random.
        merged: the hash of the merged weights.
        tasks: the counts.
        drawn, drawn_images: "task/split" -> hash and number of the images that the method was given.
        merge, evaluation: what they took.
        started: when, as ISO 8601 has it.
    """

    seed: Annotated[int, Field(ge=0, le=2**53)]
    merged: Hash16
    tasks: Scores
    drawn: dict[Part, Hash16] = {}
    drawn_images: dict[Part, Count] = {}
    merge: Cost
    evaluation: Cost
    started: Annotated[
        str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\+00:00$")
    ]

    @field_validator("started")
    @classmethod
    def _is_a_time(cls, started: str) -> str:
        try:
            datetime.fromisoformat(started)
        except ValueError as error:
            raise ValueError(f"{started!r} is no time ({error})") from None
        return started


class Predictions(Strict):
    """The file of arrays beside this one, of the same name but for its ending `.npz`.

    It holds class ids: `s<seed>/<task>` for each seed, `experts/<task>`, and `labels/<task>`.

    Args:
        sha256: of the file.
    """

    sha256: Sha256


class Submission(Strict):
    """A method's results on one suite, with all that is needed to hold them to what they say.

    Args:
        schema_version: of these fields.
        benchmark, method, code, submitter, environment: see each; no `code` of a method that comes with mergebench.
        experts: what each task's own expert gives on it.
        results: seeds, each once.
        predictions: from which all counts follow.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, title="A submission to the mergebench leaderboard")
    schema_version: Literal[1] = SCHEMA_VERSION
    benchmark: Benchmark
    method: Method
    code: Code | None = None
    submitter: Submitter
    environment: Machine
    experts: Scores
    results: Annotated[list[Run], Field(min_length=1, max_length=SEEDS)]
    predictions: Predictions

    @model_validator(mode="after")
    def _agree(self) -> "Submission":
        first = self.results[0]
        evaluated = self.benchmark.conditions.get("evaluate")
        if not isinstance(evaluated, list) or sorted(map(str, evaluated)) != sorted(first.tasks):
            raise ValueError("benchmark.conditions.evaluate: not the tasks of results.0")
        reduced, told = self.benchmark.conditions.get("precision", "float32"), self.environment.precision
        if reduced != told:
            raise ValueError(f"environment.precision: {told!r}, but benchmark.conditions say {reduced!r}")
        for place, run in enumerate(self.results):
            if run.seed in [r.seed for r in self.results[:place]]:
                raise ValueError(f"results.{place}.seed: {run.seed} stands twice")
            _hold(run.tasks, first.tasks, f"results.{place}.tasks")
        _hold(self.experts, first.tasks, "experts", every=False)
        return self


def _hold(scores: dict[str, Score], others: dict[str, Score], where: str, every: bool = True) -> None:
    """Refuses scores of other tasks, or of other numbers of images, than the first seed's."""
    strange = [t for t in scores if t not in others] + [t for t in others if every and t not in scores]
    if strange:
        raise ValueError(f"{where}.{strange[0]}: not a task of every seed")
    for task, score in scores.items():
        if score.total != others[task].total:
            raise ValueError(f"{where}.{task}.total: {score.total}, the first seed's {others[task].total}")


def json_schema() -> str:
    """The published JSON Schema: what of these rules a schema can say, as text."""
    return json.dumps({"$id": f"submission-v{SCHEMA_VERSION}"} | Submission.model_json_schema(), indent=1) + "\n"
