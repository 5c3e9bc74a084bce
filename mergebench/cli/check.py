"""`mergebench check`: any method, held to what every method must keep, on random miniature models."""

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

from mergebench.cli.json_file import add_json_option, writable, write_json
from mergebench.cli.saying import say
from mergebench.errors import LONGEST, HyperparameterError, nearest, on_one_line

if TYPE_CHECKING:
    from mergebench.conformance.candidate import Candidate

MOST_PRINTED = 20  # lines of what a method prints that are shown


def add_arguments(parser: ArgumentParser) -> None:
    """What `check` takes."""
    parser.add_argument("methods", nargs="+", type=str, help="all, names, wildcards, families, or FILE.py[:FUNCTION]")
    parser.add_argument("--set", nargs="+", type=str, default=[], help="hyper-parameters, as [METHOD.]NAME=VALUE")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of the miniature models and of the methods")
    add_json_option(parser)


def settings_of(method: str, given: dict[str, Any], among: Collection[str]) -> dict[str, Any]:
    """What `--set` sets of one method: what is said of it, or of all that are checked.

    Raises:
        HyperparameterError: something is said of a method that is not checked.
    """
    settings = {}
    for key, value in given.items():
        whose, _, name = key.rpartition(".")
        if whose and whose not in among:
            raise HyperparameterError(f"--set {key}: {whose!r} is not checked; {nearest(whose, list(among))}")
        if whose in ("", method):
            settings[name] = value
    return settings


def execute(config: Namespace) -> int:
    """Check; 1 if a property of a method does not hold."""
    from mergebench.catalogue import registry
    from mergebench.conformance.candidate import Candidate
    from mergebench.merging import hyperparameters

    writable(config.json)
    cards = registry.select_methods(config.methods)
    given, names = hyperparameters.parse_assignments(config.set), [card.name for card in cards]
    # Whatever is wrong with what was asked for shows before anything is checked.
    candidates = [Candidate(card, settings_of(card.name, given, names), config.seed) for card in cards]
    start = time.perf_counter()
    found = {c.card.name: findings(c) for c in candidates}
    failed = [name for name, told in found.items() if not _hold(told)]
    if len(candidates) > 1:
        seconds = time.perf_counter() - start
        passed = len(candidates) - len(failed)
        verdict = f"{passed} of {len(candidates)} methods conform; not {', '.join(failed)}"
        say(f"{verdict if failed else f'all {passed} methods conform'} ({seconds:.1f} s)")
    methods = [{"method": name, "conforms": _hold(told), "findings": told} for name, told in found.items()]
    write_json(config.json, {"methods": methods})
    return 1 if failed else 0


def _hold(told: "list[dict[str, str]]") -> bool:
    return all(finding["status"] != "FAIL" for finding in told)


def conforms(candidate: "Candidate") -> bool:
    """Check one method, as `findings` does."""
    return _hold(findings(candidate))


def findings(candidate: "Candidate") -> list[dict[str, str]]:
    """Check one method, printing a line per property as it becomes known and one with the verdict.

    Returns:
        Of each property its title, "ok", "FAIL" or "-" as its status, and the detail.
    """
    from mergebench.conformance.properties import check

    start = time.perf_counter()
    card = candidate.card
    say(f"{card.name}: {card.title}", flush=True)
    found, told = [], set()
    for finding in check(candidate):
        # A method that always fails would say the same thing a dozen times.
        detail = "as above" if finding.status == "FAIL" and finding.detail in told else finding.detail
        told.add(finding.detail)
        say(f"  {finding.status:<6}{finding.title}{f': {on_one_line(detail, LONGEST)}' if detail else ''}", flush=True)
        found.append({"title": finding.title, "status": finding.status, "detail": finding.detail})
    for line in [*candidate.printed][:MOST_PRINTED]:
        say(f"  printed: {on_one_line(line, LONGEST)}")
    if (more := len(candidate.printed) - MOST_PRINTED) > 0:
        say(f"  printed: {more} more lines")
    statuses = [told["status"] for told in found]
    kinds = {"ok": "ok", "FAIL": "failed", "-": "not applicable"}
    counts = [(statuses.count(status), name) for status, name in kinds.items()]
    verdict = "conforms" if _hold(found) else "does not conform"
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    say(f"{card.name} {verdict}: {said} ({time.perf_counter() - start:.1f} s)", flush=True)
    return found
