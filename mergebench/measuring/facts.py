"""The parts of a result: counts, costs, where it was measured; no number that a table or picture cannot hold."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Numbers that can be counted, drawn and averaged: JSON knows larger ones, and pictures and means do not.
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-(2.0**53), le=2.0**53)]
Value = bool | Whole | Number | str


class TaskScore(BaseModel):
    """Counts on one task's test split.

    Args:
        correct, total: images classified correctly, and all.
        expert_correct: images the task's own expert classifies correctly; None if it was not measured.
        predictions: SHA-256 (16 hex digits) of the per-sample predictions.
    """

    model_config = ConfigDict(extra="forbid")
    correct: int = Field(ge=0)
    total: int = Field(gt=0, le=2**53)
    expert_correct: int | None = Field(default=None, ge=0)
    predictions: str

    @model_validator(mode="after")
    def _within(self) -> "TaskScore":
        if max(self.correct, self.expert_correct or 0) > self.total:
            raise ValueError(f"{max(self.correct, self.expert_correct or 0)} correct of {self.total}")
        return self

    @property
    def accuracy(self) -> float:
        """Fraction correct."""
        return self.correct / self.total

    @property
    def relative(self) -> float | None:
        """Accuracy as a fraction of the expert's; None without one."""
        return self.correct / self.expert_correct if self.expert_correct else None


def beside(scores: Mapping[str, TaskScore], experts: Mapping[str, TaskScore]) -> dict[str, TaskScore]:
    """The scores with the experts' counts beside them, where those are known."""
    return {
        task: score.model_copy(update={"expert_correct": experts[task].correct if task in experts else None})
        for task, score in scores.items()
    }


class Cost(BaseModel):
    """What a phase took.

    Args:
        seconds: wall clock.
        peak_bytes: the most memory held above what was held at its start; None where it cannot be measured.
    """

    model_config = ConfigDict(extra="forbid")
    seconds: float = Field(ge=0, le=2.0**53)
    peak_bytes: int | None = Field(ge=0, le=2**63)


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


PUBLISHED, TUNED = "published", "tuned"  # the tracks: whose settings a method is measured with
GIVEN = "given"  # settings of somebody's own, which stand in no track and are not ranked
# The record of a method that has nothing to search: its published settings are its tuned ones.
NOTHING_TO_TUNE: Mapping[str, Any] = {"trials": 0, "trial": 0, "default": None, "best": None}


class Tuned(BaseModel):
    """What is read of a record of a search; one of no trials says that there was nothing to search.

    Args:
        trials: settings tried, in each study.
        default, best: accuracy on the validation split of the default and of the choice.
        trial: the number of the choice; 0 is the default.
        space, fixed: what was searched, and what was set.
        from: the default values of that.
        studies: the record of each search, where several chose.
    """

    trials: int = Field(ge=0)
    default: Number | None
    best: Number | None
    trial: int | None = None
    space: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    from_: dict[str, Any] = Field({}, alias="from")
    studies: list[dict[str, Any]] = []

    @model_validator(mode="after")
    def _found(self) -> "Tuned":
        if self.trials and self.best is None:
            raise ValueError("trials without a best one")
        return self
