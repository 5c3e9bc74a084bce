"""What must stand beside a table so that it is not misread: unusual conditions, and cells that failed."""

from collections.abc import Collection, Iterable

from mergebench.results import Result

SECTIONS = ("calibration", "restrict")


def conditions(results: Iterable[Result], axes: Collection[str] = ()) -> str:
    """What all these merges share that is not usual, in a sentence: whose images, which part of the encoder.

    Args:
        results: of one table.
        axes: what varies in it, and stands in its header.

    Returns:
        A sentence; empty where all is as usual.
    """
    said = [_said(r) for r in results if r.role == "method"]
    shared = [f"{name}={value}" for name, value in (said[0].items() if said else ()) if name not in axes]
    everywhere = [text for text in shared if all(text in (f"{n}={v}" for n, v in s.items()) for s in said)]
    return f"All merged with {', '.join(everywhere)}." if everywhere else ""


def _said(result: Result) -> dict[str, object]:
    """The conditions of a merge that differ from the usual ones, by the names that they have in YAML."""
    sections = {section: result.conditions.get(section) or {} for section in SECTIONS}
    return {f"{section}.{name}": value for section, given in sections.items() for name, value in given.items()}


def failures(results: Iterable[Result]) -> tuple[str, ...]:
    """A line for every cell that failed and has not succeeded since.

    Args:
        results: of one suite or study, the oldest first.
    """
    newest: dict[tuple, Result] = {}
    for result in results:
        settings = repr(sorted(result.hyperparameters.items()))
        newest[result.method, settings, result.variant, result.seed] = result
    return tuple(
        f"failed: {r.method} ({f'{r.variant}, ' if r.variant else ''}seed {r.seed}): {r.error}"
        for r in newest.values()
        if r.status == "failed"
    )
