"""Suites and zoos as they are written in YAML, checked when they are read."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mergebench import registry
from mergebench.errors import MergebenchError

Model = TypeVar("Model", bound=BaseModel)


class ZooConfig(BaseModel):
    """One backbone's base, experts and heads.

    Args:
        title: for people.
        encoder: "module:function" that makes the empty timm VisionTransformer.
        weights: folder of base.safetensors, experts/ and heads/: a path, or "package:folder" inside a package.
        mean, std: per channel, how images in [0, 1] are normalised.
        tasks: the tasks that have an expert, in the zoo's fixed order.
    """

    model_config = ConfigDict(extra="forbid")
    title: str
    encoder: str
    weights: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    tasks: list[str]


class SuiteConfig(BaseModel):
    """Which experts are merged and what the merged model is evaluated on.

    Args:
        title: for people.
        zoo: whose experts; `--zoo` replaces it.
        merge: tasks whose experts are merged.
        evaluate: tasks on whose test split the result is evaluated; those merged, if not given.
        hyperparameters: method -> name -> value: this suite's settings where they differ from the published ones.
    """

    model_config = ConfigDict(extra="forbid")
    title: str
    zoo: str
    merge: list[str] = Field(min_length=1)
    evaluate: list[str] = []
    hyperparameters: dict[str, dict[str, Any]] = {}

    @property
    def evaluated(self) -> list[str]:
        """The tasks evaluated."""
        return self.evaluate or self.merge


def _read(kind: str, name: str, model: type[Model]) -> Model:
    path = registry.config_file(kind, name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return model.model_validate(content)
    except yaml.YAMLError as error:
        raise MergebenchError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise MergebenchError(f"{path}: {where}: {first['msg']} (got {first['input']!r})") from None


def read_suite(name: str) -> SuiteConfig:
    """A suite by name, or from a YAML file of one's own.

    Raises:
        MergebenchError: unknown, not YAML, or a field that does not fit.
    """
    return _read("suites", name, SuiteConfig)


def read_zoo(name: str) -> ZooConfig:
    """A zoo by name, or from a YAML file of one's own; raises as `read_suite` does."""
    return _read("zoos", name, ZooConfig)


def short_name(name: str) -> str:
    """The name under which a suite or zoo is stored: a registered name as it is, a file by its stem."""
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name
