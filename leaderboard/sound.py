"""One result that no table can be made of costs its own row: found, left out, and told."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mergebench.measuring.results import Result

Made = TypeVar("Made")


def sound(results: Sequence[Result], make: Callable[[Sequence[Result]], Made]) -> tuple[Made, list[str]]:
    """What is made of all results but those of which it cannot be made.

    Args:
        results: any.
        make: makes tables of some; must not fail for none.

    Returns:
        What it made, and a sentence for every result left out.
    """
    try:
        return make(results), []
    # Files are other people's: what they make a table stumble over cannot be foreseen.
    except Exception:  # noqa: BLE001
        kept: list[Result] = []
        told: list[str] = []
        _add(kept, list(results), make, told)
        return make(kept), told


def _add(kept: list[Result], more: list[Result], make: Callable[[Sequence[Result]], object], told: list[str]) -> None:
    """Add to `kept` all of `more` but those that fail beside it, by halves: most are well."""
    try:
        make([*kept, *more])
        kept += more
    except Exception as error:  # noqa: BLE001
        if len(more) == 1:
            result = more[0]
            where = f"{result.variant}, " if result.variant else ""
            who = f"{result.method} ({where}seed {result.seed}) of {result.suite}"
            told.append(f"left out: {who}: no table can show it ({type(error).__name__}: {error})")
            return
        half = len(more) // 2
        _add(kept, more[:half], make, told)
        _add(kept, more[half:], make, told)
