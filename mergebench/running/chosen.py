"""The file of settings that searches have chosen, with their record: `tune` writes it, `run --settings` reads it."""

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import checked, read_yaml
from mergebench.configuration import Strict, file_name
from mergebench.errors import MergebenchError
from mergebench.weights.writing import writing

KIND = "settings"  # the folder of shipped ones, beside suites and zoos
HEAD = "# Chosen by `mergebench tune` on validation images; `mergebench run --settings FILE` uses it.\n"
Value = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str | None
Accuracy = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class StudyRecord(Strict):
    """One search of several that differ in the seed alone.

    Args:
        seed: of its sampler and its method.
        trials, failed: how many settings it tried, and how many of these gave nothing.
        default, best: accuracy on the validation split of the default and of its choice; None: all of it failed.
        trial: the number of the choice; 0 is the default.
        settings: its choice.
        seconds: what it took.
    """

    seed: Count
    trials: Annotated[int, Field(ge=1)]
    failed: Count = 0
    default: Accuracy | None
    best: Accuracy | None
    trial: Count | None
    settings: dict[str, Value]
    seconds: Seconds


class SearchRecord(Strict):
    """What a result says of the studies that chose its settings; `trials` to `trial` are those of the median study.

    Args:
        trials, failed, seed, default, best, trial: as in `StudyRecord`.
        sampler, optuna: what proposed, and its version.
        split: what was scored.
        space: what was searched.
        fixed: what was set, and not searched.
        from: the default values of what was searched.
        seconds: what all studies took.
        studies: all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    trials: Annotated[int, Field(ge=1)]
    failed: Count
    sampler: str
    optuna: str
    seed: Count
    split: str
    space: Annotated[dict[str, dict[str, Value] | list[Value]], Field(min_length=1)]
    fixed: dict[str, JsonValue]
    from_: dict[str, Value] = Field(alias="from")
    default: Accuracy | None
    best: Accuracy
    trial: Count
    seconds: Seconds
    studies: Annotated[list[StudyRecord], Field(min_length=1)]


class ChosenSettings(Strict):
    """What was chosen for one method.

    Args:
        settings: hyper-parameter -> value, of all that was searched or set.
        search: how it was chosen.
    """

    settings: dict[str, JsonValue]
    search: SearchRecord

    @model_validator(mode="after")
    def _fits_together(self) -> "ChosenSettings":
        asked = self.search.space.keys() | self.search.fixed.keys()
        odd = next((name for name in self.settings if name not in asked), None)
        lacking = next((name for name in asked if name not in self.settings), None)
        if odd is not None:
            raise ValueError(f"settings.{odd}: it was neither searched nor set; set it by --set and tune anew")
        if lacking is not None:
            raise ValueError(f"settings.{lacking}: missing, though it was searched or set")
        records: list[tuple[str, SearchRecord | StudyRecord]] = [("search", self.search)]
        records += [(f"study {s.seed}", s) for s in self.search.studies]
        for where, record in records:
            if max(record.failed, (record.trial or 0) + 1) > record.trials:
                told = f"trial {record.trial} was the best and {record.failed} failed"
                raise ValueError(f"{where}: of {record.trials} trials {told}, which cannot be")
        mine = next((s.settings for s in self.search.studies if s.seed == self.search.seed), None)
        chosen = {name: self.settings[name] for name in self.search.space}
        if mine != chosen:
            raise ValueError(
                f"settings: {chosen} is not what the study of seed {self.search.seed} chose, {mine}; "
                "values of one's own are given by `run --set`"
            )
        return self


class SettingsFile(Strict):
    """All of a settings file.

    Args:
        suite, zoo, variant: what was searched on.
        methods: method -> what was chosen.
        nothing_to_tune: methods without ranges, whose published settings are their tuned ones.
    """

    suite: str
    zoo: str
    variant: str = ""
    methods: dict[str, ChosenSettings]
    nothing_to_tune: list[str] = []

    @field_validator("methods", "nothing_to_tune")
    @classmethod
    def _installed(cls, named: Any) -> Any:
        file = next((name for name in named if registry.is_file(name)), None)
        if file is not None:
            raise ValueError(f"{file!r} is a file of code; a method is named by its own name here")
        return named

    @property
    def place(self) -> str:
        """What was searched on, in words."""
        return f"{self.suite}{', ' * bool(self.variant)}{self.variant} on zoo {self.zoo}"


def stem(suite: str, zoo: str, variant: str = "") -> str:
    """What a settings file is called, without its ending."""
    return file_name("-".join(filter(None, (suite, zoo, variant))))


def read_settings(path: Path) -> SettingsFile:
    """A settings file's content.

    Raises:
        MergebenchError: no such file, not YAML, or a field that does not fit, in one line.
    """
    if not path.is_file():
        raise MergebenchError(f"no such settings file: {path}; `mergebench tune` writes one")
    try:
        return checked(SettingsFile, read_yaml(path))
    except MergebenchError as error:
        told = str(error)
    raise MergebenchError(told if str(path) in told else f"{path}: {told}")


def write_settings(path: Path, settings: SettingsFile) -> None:
    """Write a settings file, which appears whole; what somebody wrote at its head stays.

    Raises:
        MergebenchError: the place cannot be written.
    """
    before = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    said = list(takewhile(lambda line: line.startswith(b"#"), before))
    head = b"".join(said) or HEAD.encode()
    text = yaml.safe_dump(settings.model_dump(by_alias=True), sort_keys=False, allow_unicode=True, width=120)
    with writing(path) as temporary:
        temporary.write_bytes(head + text.encode())


def shipped(suite: str, zoo: str) -> Path | None:
    """The settings file that is installed for a suite on a zoo; None if there is none."""
    return registry.config_files(KIND).get(stem(suite, zoo))


def record_of(chosen: ChosenSettings, file: SettingsFile) -> Mapping[str, Any]:
    """What a result says of the search that chose its settings: plain data, and where it was done."""
    return chosen.search.model_dump(by_alias=True) | {"suite": file.suite, "zoo": file.zoo}
