"""What must stand beside a table so that it is not misread: unusual conditions, and cells that failed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mergebench.errors import LONGEST, on_one_line
from mergebench.leaderboard.shown import failed
from mergebench.measuring.results import Result

SECTIONS = ("calibration", "restrict")


def conditions(results: Iterable[Result], axes: Collection[str] = ()) -> str:
    """What all these merges share that is not usual, in a sentence: whose images, which part of the encoder.

    Args:
        results: of one table.
        axes: what varies in it, and stands in its header.

    Returns:
        A sentence; empty where all is as usual.
    """
    first, *others = [_said(r) for r in results if r.role == "method"] or [{}]
    shared = [
        f"{name}={value}"
        for name, value in first.items()
        if name not in axes and all((name, value) in said.items() for said in others)
    ]
    return f"All merged with {', '.join(shared)}." if shared else ""


def measured(results: Iterable[Result]) -> str:
    """What these results were measured in and on that a number does not show: a reduced precision, the hub's commits.

    Args:
        results: of one table, so of one precision and the same weights and images.

    Returns:
        Sentences; empty where evaluation was in float32 and nothing came from the hub.
    """
    precisions, origins = {}, {}
    for result in results:
        precisions |= {result.environment.precision: None}
        origins |= result.origins
    reduced = " and ".join(name for name in precisions if name != "float32")
    told = [f"Evaluated in {reduced}."] if reduced else []
    if "base" in origins:
        more = f" and {len(origins) - 1} more, whose commits stand in the results" if len(origins) > 1 else ""
        repository, at, commit = origins["base"].partition("@")
        told.append(f"From the hub: {repository}{at}{commit[:12]}{more}.")
    return " ".join(told)


def environments(results: Iterable[Result]) -> str:
    """In what the environments differ in which results were measured: rounding, and what merging took, may with them.

    Args:
        results: those of a table.

    Returns:
        A sentence; empty where nothing differs.
    """
    found: dict[str, dict[str, None]] = {}
    for result in results:
        facts = result.environment.model_dump(exclude={"git_commit", "packages"}) | result.environment.packages
        for name, value in facts.items():
            found.setdefault(name, {})[str(value)] = None
    told = [f"{name} {' and '.join(values)}" for name, values in found.items() if len(values) > 1]
    return f"Measured in several environments: {'; '.join(told)}." if told else ""


def codes(results: Iterable[Result]) -> str:
    """Which methods were measured by another version of the engine or encoder than the newest result, in a sentence.

    Args:
        results: those of a table.

    Returns:
        A sentence; empty where one version measured all.
    """
    results = sorted(results, key=lambda r: r.last_asked)
    codes = [(r.engine, r.encoder_source) for r in results]
    others = dict.fromkeys(r.title for r, code in zip(results, codes, strict=True) if code != codes[-1])
    return f"Measured by other code than the newest: {', '.join(others)}; a run measures them anew." if others else ""


def unproven(results: Iterable[Result]) -> str:
    """Which methods' results were stored before results held proof of their counts, in a sentence.

    Args:
        results: those of a table.

    Returns:
        A sentence; empty where all are proven.
    """
    titles = dict.fromkeys(r.title for r in results if not r.proven)
    told = "without a checksum or labels, by an earlier version; a run into another folder measures them anew"
    return f"Not proven, as stored {told}: {', '.join(titles)}." if titles else ""


def leaders(titles: Sequence[str]) -> str:
    """Which rows cannot be told from the best, in a sentence.

    Args:
        titles: theirs, the best first.

    Returns:
        A sentence; empty where there are none.
    """
    if len(titles) < 2:
        return f"Told apart from all others: {titles[0]}." if titles else ""
    *some, last = titles[1:]
    return f"Not to be told from {titles[0]}: {', '.join(some)}{' and ' * bool(some)}{last}."


def submitted(results: Iterable[Result], copies: Iterable[Result] = ()) -> str:
    """What was submitted, by whom, and how far it is held to what it says, in sentences.

    Args:
        results: those of a table.
        copies: of submissions whose row is that of a result of the table, which is the same.

    Returns:
        Sentences; empty where nothing was submitted.
    """
    told = {"not measured by this run": _listings(results), "the same as measured here, in one row": _listings(copies)}
    return " ".join(f"Submitted, and {how}: {', '.join(names)}." for how, names in told.items() if names)


def _listings(results: Iterable[Result]) -> list[str]:
    told = [f"{r.title} ({r.listing.tier}, by {r.listing.author}: {r.listing.name})" for r in results if r.listing]
    return list(dict.fromkeys(told))


def searched(settings: Mapping[str, Any], tuned: Mapping[str, Any]) -> list[str]:
    """The hyper-parameters that a search has chosen, of those in `settings`; none without a record of one."""
    return [name for name in tuned.get("space", {}) if name in settings]


def searches(entries: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any], str]]) -> str:
    """How the hyper-parameters of tuned rows were chosen, in a sentence; what had one budget is told together.

    Args:
        entries: title, settings, record of the search (empty where there was none) and variant of each.

    Returns:
        A sentence; empty where nothing was tuned.
    """
    budgets: dict[str, list[tuple[str, Mapping[str, Any], Mapping[str, Any], str]]] = {}
    for entry in entries:
        if entry[2].get("trials"):
            budgets.setdefault(_budget(entry[2]), []).append(entry)
    told = []
    for budget, there in budgets.items():
        # A line of a series says nowhere else what was chosen at each of its points.
        alone = len(there) == 1 or any(where for *_, where in there)
        told += [_searched(budget, *entry) for entry in there] if alone else [f"{budget}, {_together(there)}"]
    return f"Tuned rows chose their hyper-parameters on the validation split: {'; '.join(told)}." if told else ""


def _budget(tuned: Mapping[str, Any]) -> str:
    each = f" in each of {len(tuned['studies'])} studies" if len(tuned.get("studies", ())) > 1 else ""
    return f"with {tuned['trials']} trials{each}"


def _searched(budget: str, title: str, settings: Mapping[str, Any], tuned: Mapping[str, Any], where: str) -> str:
    """What one search came to."""
    default = "failed" if tuned["default"] is None else f"{100 * tuned['default']:.1f} %"
    at = f" at {where}" if where else ""
    return (
        f"{title} ({_values(settings, tuned)}){at} {budget} ({100 * tuned['best']:.1f} % there, the default {default})"
    )


def _values(settings: Mapping[str, Any], tuned: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={settings[name]}" for name in searched(settings, tuned))


def _together(entries: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any], str]]) -> str:
    """What searches of one budget came to: their rows say what they chose, unless several are called the same."""
    titles = [title for title, *_ in entries]
    better, same = [], []
    for title, settings, tuned, _ in entries:
        name = f"{title} ({_values(settings, tuned)})" if titles.count(title) > 1 else title
        default = "failed" if tuned["default"] is None else f"{100 * tuned['default']:.1f}"
        told = f"{name} {100 * tuned['best']:.1f} ({default})"
        (same if tuned.get("trial") == 0 else better).append(name if tuned.get("trial") == 0 else told)
    parts = [f"in % there (the default): {', '.join(better)}"] * bool(better)
    return "; ".join(parts + [f"nothing better than the default of {', '.join(same)}"] * bool(same))


def by_hand(entries: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Which rows have settings that somebody gave, in a sentence.

    Args:
        entries: title, settings and the published values that others were given in place of, of each.

    Returns:
        A sentence; empty where there are none.
    """
    told = []
    for title, settings, given in entries:
        if given:
            values = ", ".join(f"{name}={settings.get(name)}, published {value}" for name, value in given.items())
            told.append(f"{title} ({values})")
    return f"With settings given by hand, in no track and not ranked: {'; '.join(told)}." if told else ""


def went_on(entries: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Which choices are not shown any more, in a sentence.

    Args:
        entries: title, settings and record of the search of each.

    Returns:
        A sentence; empty where there are none.
    """
    told = [f"{title} ({_values(settings, tuned)}, {_budget(tuned)})" for title, settings, tuned in entries]
    return f"Left out, as the search that chose it has gone on since: {', '.join(told)}." if told else ""


def _said(result: Result) -> dict[str, object]:
    """The conditions of a merge that differ from the usual ones, by the names that they have in YAML."""
    sections = {section: result.conditions.get(section) or {} for section in SECTIONS}
    return {f"{section}.{name}": value for section, given in sections.items() for name, value in given.items()}


def failures(results: Iterable[Result]) -> tuple[str, ...]:
    """A line for every cell that failed and has not succeeded since.

    Args:
        results: of one suite or study, the oldest first.
    """
    return tuple(map(failure, failed(results)))


def failure(result: Result) -> str:
    """Which cell failed, and why, in a line."""
    where = f"{result.variant}, " if result.variant else ""
    told = f"failed: {result.method} ({where}seed {result.seed}): {on_one_line(result.failure, LONGEST)}"
    return on_one_line(told)
