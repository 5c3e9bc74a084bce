"""What a method tells of a merge beside its result: facts to be kept, and numbers step by step for a logger."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from mergebench.errors import MethodError

# A step's number, and name -> value.
Log = Callable[[int, Mapping[str, float]], None]
_logs: ContextVar[Log | None] = ContextVar("logs", default=None)


@contextmanager
def logged_by(log: Log) -> Iterator[None]:
    """While the block runs, `log` is called with what methods tell of their steps (`ModelPool.log`)."""
    token = _logs.set(log)
    try:
        yield
    finally:
        _logs.reset(token)


def log_step(step: int, values: Mapping[str, Tensor | float]) -> None:
    """Hand a step's numbers to whoever logs them; where nobody does no tensor is read, for that waits for a device."""
    log = _logs.get()
    if log is not None:
        log(step, {name: float(value) for name, value in values.items()})


def plain(name: str, fact: Any) -> Any:
    """A fact as JSON can hold it.

    Args:
        name: what it is reported as.
        fact: a number, a text, a tensor, an array, or a list or dict of these.

    Raises:
        MethodError: it is something else.
    """
    if fact is None or isinstance(fact, (str, bool, int, float)):
        return fact
    if hasattr(fact, "tolist"):  # a tensor, an array or one of its numbers
        return fact.tolist()
    if isinstance(fact, Mapping):
        return {str(key): plain(name, value) for key, value in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [plain(name, value) for value in fact]
    raise MethodError(f"report({name}=...): a result cannot hold a {type(fact).__name__}; report numbers or texts")
