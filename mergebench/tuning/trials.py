"""The trials of a search and the file that keeps them, which proves what it says as a stored result does."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict

from mergebench.measuring.facts import Cost, TaskScore
from mergebench.measuring.proof import Unproven, read_stored
from mergebench.weights.sealed import checksum
from mergebench.weights.writing import writing


class Trial(BaseModel):
    """One setting and what it gave on the validation split.

    Args:
        number: its place in the search; 0 is the default setting.
        settings: the values of what is searched.
        tasks: counts on the validation split; none, if it failed.
        error: why it failed, if it did.
        merge, evaluation: what they cost; None where the trial failed or repeats another.
        repeats: the number of the earlier trial with the same settings, whose outcome this is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    settings: dict[str, Any]
    tasks: dict[str, TaskScore] = {}
    error: str | None = None
    merge: Cost | None = None
    evaluation: Cost | None = None
    repeats: int | None = None

    @property
    def value(self) -> float | None:
        """Mean accuracy over tasks: what is sought to be high; None if it failed."""
        return fmean(t.accuracy for t in self.tasks.values()) if self.tasks else None

    @property
    def seconds(self) -> float:
        """What it took."""
        return sum(cost.seconds for cost in (self.merge, self.evaluation) if cost)


class _History(BaseModel):
    """A search's file: its identity, its trials, and a checksum over both."""

    search: dict[str, Any]
    trials: list[Trial]
    checksum: str = ""


def write(path: Path, search: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    """Keep a search's trials.

    Args:
        path: the file; it appears whole.
        search: what decides what they give.
        trials: in order.

    Raises:
        MergebenchError: the place cannot be written.
    """
    history = _History(search=dict(search), trials=list(trials))
    told = checksum(json.loads(history.model_dump_json()))
    with writing(path) as temporary:
        temporary.write_text(history.model_copy(update={"checksum": told}).model_dump_json(indent=1) + "\n", "utf-8")


def check(path: Path) -> None:
    """Hold a search's file to its checksum, whoever's search it is.

    Raises:
        Unproven: it is damaged, or was changed.
    """
    history = read_stored(path, _History, "record of a search")
    if [trial.number for trial in history.trials] != list(range(len(history.trials))):
        raise Unproven("its trials are not numbered one after the other")


def read(
    path: Path, search: Mapping[str, Any], tasks: Sequence[str], asked: Callable[[Trial], bool]
) -> tuple[list[Trial], bool]:
    """The trials in a search's file; none where there is no file.

    Args:
        path: the file.
        search: as for `write`.
        tasks: what every trial was evaluated on.
        asked: whether a trial may be one of the search's; a setting may name a method to start from, and with it code.

    Returns:
        The trials, and whether they prove what they say: before there was a checksum, they did not.

    Raises:
        Unproven: it is damaged, was changed, or is another search's.
    """
    if not os.path.lexists(path):
        return [], True
    history = read_stored(path, _History, "record of a search")
    plain = json.loads(_History(search=dict(search), trials=[]).model_dump_json())["search"]
    if history.search != plain:
        raise Unproven("it is another search's record")
    for place, trial in enumerate(history.trials):
        if trial.number != place or not asked(trial) or (trial.tasks and trial.tasks.keys() != set(tasks)):
            raise Unproven(f"its trial {place} is none of this search's")
    return history.trials, bool(history.checksum)
