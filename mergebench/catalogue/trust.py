"""Who may name code that is run: the command line, and a zoo's own `encoder:`. All other files are asked about.

What was installed (methods, tasks, registered zoos and their encoders) is trusted as it is. A checkpoint's header or
config.json never chooses code. A suite, a study or a zoo may name a method's file, which is run only where the command
line says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_zoo
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from mergebench.weights.encoders import Encoder

# The fields of a YAML file in which methods are named.
NAMING = ("methods", "hyperparameters", "vary", "points")


def is_installed(encoder: str) -> bool:
    """Whether an encoder's name needs no trust: a name in timm, or the code of a registered zoo."""
    return ":" not in encoder or encoder in {read_zoo(zoo).encoder for zoo in registry.config_files("zoos")}


def check_encoder(encoder: "Encoder", who: str, remedy: str) -> "Encoder":
    """The encoder that a checkpoint's header, or a config.json, names without a person's having named it.

    Args:
        encoder: as it is read; nothing has been run.
        who: the file.
        remedy: what names it.

    Raises:
        MergebenchError: it is code that is no registered zoo's.
    """
    if not is_installed(encoder.name):
        raise MergebenchError(f"{who} says that {encoder.name} makes its encoder; if you trust that code, {remedy}")
    return encoder


def method_files(fields: BaseModel | Mapping[str, Any], naming: Sequence[str] = NAMING) -> list[str]:
    """The methods' files (`path/to/file.py:function`) that a YAML file names, each once.

    Args:
        fields: of the file.
        naming: those in which methods are named.
    """
    content = fields.model_dump(include=set(naming)) if isinstance(fields, BaseModel) else fields
    texts = _texts([content[name] for name in naming if name in content])
    return list(dict.fromkeys(text for text in texts if registry.is_file(text)))


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        yield from _texts(list(content.values()))
    elif isinstance(content, Sequence):
        for part in content:
            yield from _texts(part)


def check_methods(named: Mapping[str, Sequence[str]], allowed: bool) -> None:
    """Refuses, by a MergebenchError, methods' files that nobody but a YAML file names.

    Args:
        named: who ("suite 'mine'") -> what `method_files` finds there.
        allowed: whether the command line says that such code may be run.
    """
    who = next((who for who, files in named.items() if files), None)
    if who is not None and not allowed:
        raise MergebenchError(
            f"{who} names code, {', '.join(named[who])}, which would be run; if you trust it, give --allow-code"
        )
