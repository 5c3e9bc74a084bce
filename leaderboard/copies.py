"""Submissions of what was measured here too: one thing takes one row, whoever measured it."""

from collections.abc import Iterable, Sequence

from mergebench.measuring.results import Result
from mergebench.measuring.rounding import flips


def without_copies(results: Iterable[Result]) -> tuple[list[Result], list[Result]]:
    """The results that make rows, and those of submissions that say what was measured here, within rounding.

    A copy in a row of its own would stand beside itself in every comparison: it adds pairs that nothing tells apart, so
    that by the correction for all pairs others are told apart that much more seldom.

    Args:
        results: of one board, one of each method, setting, submission and seed.
    """
    results = list(results)
    own = [r for r in results if not r.listing]
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.listing:
            groups.setdefault(repr((result.method, _settings(result), result.listing)), []).append(result)
    copies = {id(r) for theirs in groups.values() if _same(theirs, own) for r in theirs}
    return [r for r in results if id(r) not in copies], [r for r in results if id(r) in copies]


def _settings(result: Result) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in result.hyperparameters.items())


def _same(theirs: Sequence[Result], own: Iterable[Result]) -> bool:
    """Whether a submission was measured here, with seeds of its own among others, and came out the same."""
    first = theirs[0]
    ours = {r.seed: r for r in own if r.method == first.method and _settings(r) == _settings(first)}
    shared = [(r, ours[r.seed]) for r in theirs if r.seed in ours]
    return bool(shared) and all(_alike(one, other) for one, other in shared)


def _alike(one: Result, other: Result) -> bool:
    """Whether two results have the same images right, but for what rounding may flip."""
    hits, others = one.hits(), other.hits()
    if hits is None or others is None or {t: len(h) for t, h in hits.items()} != {t: len(h) for t, h in others.items()}:
        return False
    return all(int((right != others[task]).sum()) <= flips(len(right)) for task, right in hits.items())
