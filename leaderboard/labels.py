"""What rows and lines are called, so that those of one method are told apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from mergebench.errors import on_one_line
from mergebench.leaderboard import notes

LONGEST_VALUE = 60  # characters of a setting that a row's label shows; a longer one would leave no room for numbers
FEW = 3  # methods whose chosen settings stand in their labels


def told_apart(entries: Sequence[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """Titles, each with the settings that a search has chosen, and those in which entries of the same method differ.

    Where searches have chosen for many methods, what they chose would leave no room for numbers: there a tuned entry is
    but called so, and settings are named only where several tuned entries, or several others, of a method differ.

    Args:
        entries: method, title, settings and record of the search (empty where there was none) of each.
    """
    many = len({method for method, _, _, tuned in entries if tuned}) > FEW
    twins: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for method, _, settings, tuned in entries:
        twins.setdefault((method, many and bool(tuned)), []).append(settings)
    differing = {kind: _differing(all_settings) for kind, all_settings in twins.items()}
    found = []
    for method, title, settings, tuned in entries:
        apart = [name for name in settings if name in differing[method, many and bool(tuned)]]
        named = dict.fromkeys(apart if many else [*notes.searched(settings, tuned), *apart])
        told = ", ".join(f"{k}={on_one_line(settings[k], LONGEST_VALUE)}" for k in named)
        told = f"tuned: {told}" if tuned and told else "tuned" * bool(tuned) + told
        found.append(f"{title} ({told})" if told else title)
    return found


def _differing(twins: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names of settings that are not everywhere the same; what is nowhere said is None."""
    names = {name for settings in twins for name in settings}
    return {name for name in names if len({repr(settings.get(name)) for settings in twins}) > 1}
