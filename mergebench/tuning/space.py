"""What a search may try: an interval or choices for each hyper-parameter, checked against the method's own types."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

from mergebench.errors import HyperparameterError
from mergebench.merging.hyperparameters import parse_assignments, resolve

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod

COUNTED = 1000  # settings that are listed one by one; a search of so many trials is none by hand
DECADE = 10  # an interval that spans this factor is searched on a logarithmic scale


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included; whole ones, if the ends are."""

    low: int | float
    high: int | float

    @property
    def integer(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def whole(self) -> range | None:
        """The whole numbers that it holds; None if it holds others, too."""
        return range(self.low, self.high + 1) if isinstance(self.low, int) and isinstance(self.high, int) else None

    @property
    def log(self) -> bool:
        """Whether it spans orders of magnitude."""
        return self.low > 0 and self.high / self.low >= DECADE

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def short(self, value: int | float) -> int | float:
        """A number of it with as few digits as a thousandth of the number and of the interval need.

        What a search finds can then be typed again: 0.7313, not 0.7312948102.
        """
        if self.integer:
            return value
        finest = min(abs(value) or math.inf, self.high - self.low)
        return min(max(round(value, 3 - math.floor(math.log10(finest))), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{' (logarithmic)' * self.log}{' (whole numbers)' * self.integer}"

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def short(self, value: Any) -> Any:
        """The value itself."""
        return value

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))

    def plain(self) -> list[Any]:
        """As JSON holds it."""
        return list(self.values)


Space: TypeAlias = dict[str, Interval | Choices]


def settings_of(space: Space) -> list[dict[str, Any]] | None:
    """All settings that a space holds; None where there are more than can be tried."""
    parts = [part.values if isinstance(part, Choices) else part.whole() for part in space.values()]
    values = [part for part in parts if part is not None]
    if len(values) < len(parts) or math.prod(map(len, values)) > COUNTED:
        return None
    return [dict(zip(space, combined, strict=True)) for combined in product(*values)]


def parse_space(items: Sequence[str]) -> dict[str, tuple[Any, ...] | list[Any]]:
    """`["scaling=0.1:1.5", "combine=sum,mean"]` -> {"scaling": (0.1, 1.5), "combine": ["sum", "mean"]}.

    Raises:
        HyperparameterError: an item that is written otherwise.
    """
    found: dict[str, tuple[Any, ...] | list[Any]] = {}
    for item in items:
        name, _, text = item.partition("=")
        ends = ":" in text
        parts = text.split(":" if ends else ",")
        values = [parse_assignments([f"{name}={part.strip()}"])[name] for part in parts if name and part.strip()]
        if not name or len(values) != len(parts) or (ends and not _numbers(tuple(values))):
            raise HyperparameterError(f"--space {item}: write NAME=LOW:HIGH (two numbers), or NAME=A,B,C")
        found[name] = tuple(values) if ends else values
    return found


def make_space(function: "MergeMethod", given: Mapping[str, Sequence[Any]], fixed: Collection[str]) -> Space:
    """The space to be searched: the card's ranges, those given in their place or beside them, without what is fixed.

    Args:
        function: the method; its signature says what values its hyper-parameters take.
        given: hyper-parameter -> (low, high), two numbers in a tuple; any other sequence holds the values themselves.
        fixed: hyper-parameters that are not searched.

    Raises:
        HyperparameterError: nothing to search, or what the hyper-parameter's type does not take.
    """
    card = function.card
    clash = next((name for name in given if name in fixed), None)
    if clash:
        raise HyperparameterError(f"{clash} is both set and searched; leave out one of the two")
    wanted = {name: values for name, values in {**card.ranges, **given}.items() if name not in fixed}
    if not wanted:
        names = ", ".join(name for name in resolve(function, {}) if name not in fixed)
        remedy = f"say what, as --space NAME=LOW:HIGH, with NAME of {names}" if names else "it has none left"
        raise HyperparameterError(f"method {card.name!r} has no ranges to search: {remedy}")
    return {name: _part(function, name, values) for name, values in wanted.items()}


def _part(function: "MergeMethod", name: str, values: Sequence[Any]) -> Interval | Choices:
    resolved = [resolve(function, {name: value})[name] for value in values]
    where, told = f"method {function.card.name!r}: {name}", ", ".join(map(str, values))
    if not all(isinstance(v, int | float | str | None) for v in resolved):
        raise HyperparameterError(
            f"{where}: only texts and numbers can be searched, not {told}; fix it, as --set {name}=VALUE"
        )
    found = tuple(dict.fromkeys(resolved))
    if len(found) < 2:
        raise HyperparameterError(f"{where}: {told} is nothing to search; fix it, as --set {name}=VALUE")
    if not (_numbers(values) and _numbers(found)):
        return Choices(found)
    if found[0] > found[1]:
        raise HyperparameterError(f"{where}: the low end {values[0]} is above the high end {values[1]}")
    return Interval(*found)


def _numbers(values: Sequence[Any]) -> bool:
    """Whether it is a pair of numbers, as an interval's ends are."""
    ends = isinstance(values, tuple) and len(values) == 2
    return ends and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
