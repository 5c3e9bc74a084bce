"""Which of a folder's results count: those of which a board or a series tells anything."""

from collections.abc import Iterable, Sequence
from typing import Any

from mergebench.leaderboard.comparable import comparable
from mergebench.measuring.results import Result


def shown(results: Iterable[Result]) -> list[Result]:
    """The results that stand in a row, in a line or in a sentence beside them; boards of these alone are the same.

    All else is of earlier code, weights, images or conditions, or was measured again: nobody is shown it any more.

    Args:
        results: stored results, in any order.
    """
    results = list(results)
    kept: dict[int, Result] = {}
    for group in _grouped((r for r in results if not (r.point or r.study)), "suite", "zoo", "variant"):
        kept |= {id(r): r for r in newest(group)}
    for group in _grouped((r for r in results if r.point or r.study), "suite", "study", "zoo"):
        kept |= {id(r): r for r in comparable(r for r in group if r.status == "ok")}
        kept |= {id(r): r for r in failed(sorted(group, key=lambda r: r.last_asked))}
    return [r for r in results if id(r) in kept]


def newest(results: Iterable[Result]) -> list[Result]:
    """Of one method, setting, submission and seed the newest of those that may stand beside the others.

    Args:
        results: of one board.
    """
    return list({(r.method, settings_of(r), r.listing, r.seed): r for r in comparable(results)}.values())


def unshown_submissions(results: Iterable[Result]) -> list[str]:
    """A sentence for every submission that may not stand beside the other results of its suite and zoo, and why.

    Args:
        results: stored and submitted ones, in any order.
    """
    results = list(results)
    there = shown(results)
    seen = {r.listing for r in there}
    gone = {r.listing: r for r in results if r.listing and r.listing not in seen}
    return [
        f"submission {listing.name} is left out: it was measured {_apart(r, there)} than the results of {r.suite} on "
        f"{r.zoo} here"
        for listing, r in gone.items()
    ]


def _apart(result: Result, there: Sequence[Result]) -> str:
    """By what a result differs from those of its board."""
    board = [r for r in there if (r.suite, r.zoo, r.variant) == (result.suite, result.zoo, result.variant)]
    if result.environment.device_kind not in {r.environment.device_kind for r in board}:
        return "on another kind of device"
    weights = {name: digest for r in board for name, digest in r.weights.items()}
    if other := [name for name, digest in result.weights.items() if weights.get(name, digest) != digest]:
        return f"with other weights ({', '.join(sorted(other))})"
    images = {name: digest for r in board for name, digest in r.data.items()}
    if other := [name for name, digest in result.data.items() if images.get(name, digest) != digest]:
        return f"on other images ({', '.join(sorted(other))})"
    return "under other conditions"


def settings_of(result: Result) -> tuple[tuple[str, str], ...]:
    """All its hyper-parameters, as something that can be a key."""
    return tuple(sorted((name, repr(value)) for name, value in result.hyperparameters.items()))


def failed(results: Iterable[Result]) -> list[Result]:
    """The cells that failed and have not succeeded since.

    Args:
        results: of one suite or study, the oldest first.
    """
    last = {(r.method, settings_of(r), r.variant, r.seed): r for r in results}
    return [r for r in last.values() if r.status == "failed"]


def _grouped(results: Iterable[Result], *names: str) -> Iterable[Sequence[Result]]:
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(getattr(result, name) for name in names), []).append(result)
    return groups.values()
