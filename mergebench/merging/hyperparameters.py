"""Hyper-parameters: checked against the method's signature, filled with its defaults."""

import inspect
import math
import typing
from collections.abc import Mapping
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from mergebench.errors import HyperparameterError, nearest
from mergebench.merging.method import MergeMethod
from mergebench.merging.type_words import in_words


def resolve(function: MergeMethod, given: Mapping[str, Any]) -> dict[str, Any]:
    """All hyper-parameters of a method: those given, checked and converted, and the defaults of the others.

    Args:
        function: a merge method; its signature is the schema.
        given: name -> value; text is converted to the declared type.

    Raises:
        HyperparameterError: a name it does not have (the nearest are shown), or a value its type does not take.
    """
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    known = {p.name: p for p in parameters}
    for name in given:
        if name not in known:
            raise HyperparameterError(
                f"method {function.card.name!r} has no hyper-parameter {name!r}; {nearest(name, list(known))}"
            )
    resolved = {}
    for name, parameter in known.items():
        if name not in given:
            resolved[name] = parameter.default
            continue
        value = given[name]
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{name}", type=parameter.annotation)
        # jsonargparse lets None pass for "not given".
        wrong = value is None and type(None) not in typing.get_args(parameter.annotation)
        try:
            resolved[name] = getattr(parser.parse_object({name: value}), name)
        except (ArgumentError, TypeError, ValueError, OverflowError):
            wrong = True
        if wrong:
            kind = in_words(inspect.formatannotation(parameter.annotation))
            raise HyperparameterError(
                f"method {function.card.name!r}: hyper-parameter {name}={value!r} is not {kind} "
                f"(default {parameter.default!r})"
            )
        if not _finite(resolved[name]):
            raise HyperparameterError(
                f"method {function.card.name!r}: hyper-parameter {name}={value!r} is not finite; give a number that is "
                f"(default {parameter.default!r})"
            )
    return resolved


def _finite(value: Any) -> bool:
    """Whether no number in a value is NaN, infinite or too large for a float."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["scaling=0.5", "ties.density=0.1"]` -> names to values, read as YAML scalars.

    Raises:
        HyperparameterError: an item without `=`.
    """
    values = {}
    for item in assignments:
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise HyperparameterError(f"cannot read {item!r}: write NAME=VALUE")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[name] = text
        # YAML 1.1 takes "1e-3" for text; a person means the number.
        if isinstance(values[name], str):
            try:
                values[name] = float(values[name])
            except ValueError:
                continue
    return values
