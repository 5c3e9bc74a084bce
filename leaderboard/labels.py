"""What rows and lines are called, so that those of one method are told apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from mergebench.errors import on_one_line
from mergebench.leaderboard import notes

LONGEST_VALUE = 60  # characters of a setting that a row's label shows; a longer one would leave no room for numbers


def told_apart(entries: Sequence[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """Titles, each with the settings that a search has chosen, and those in which entries of the same method differ.

    Args:
        entries: method, title, settings and record of the search (empty where there was none) of each.
    """
    twins: dict[str, list[Mapping[str, Any]]] = {}
    for method, _, settings, _ in entries:
        twins.setdefault(method, []).append(settings)
    differing = {method: _differing(all_settings) for method, all_settings in twins.items()}
    found = []
    for method, title, settings, tuned in entries:
        named = dict.fromkeys([*notes.searched(settings, tuned), *(k for k in settings if k in differing[method])])
        told = ", ".join(f"{k}={on_one_line(settings[k], LONGEST_VALUE)}" for k in named)
        told = f"tuned: {told}" if tuned and told else "tuned" * bool(tuned) + told
        found.append(f"{title} ({told})" if told else title)
    return found


def _differing(twins: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names of settings that are not everywhere the same; what is nowhere said is None."""
    names = {name for settings in twins for name in settings}
    return {name for name in names if len({repr(settings.get(name)) for settings in twins}) > 1}
