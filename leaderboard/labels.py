"""What rows and lines are called, so that those of one method are told apart."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mergebench.errors import on_one_line
from mergebench.leaderboard import notes

LONGEST_VALUE = 60  # characters of a setting that a row's label shows; a longer one would leave no room for numbers
FEW = 3  # methods whose chosen settings stand in their labels


class Named(NamedTuple):
    """What is to be called something: settings, the record of a search (empty where none was), and what was given."""

    method: str
    title: str
    settings: Mapping[str, Any]
    tuned: Mapping[str, Any]
    given: Mapping[str, Any] = {}


def told_apart(entries: Sequence[Named]) -> list[str]:
    """Titles, each with the settings that a search or somebody chose, and those in which a method's entries differ.

    Where searches have chosen for many methods, what they chose would leave no room for numbers: there a tuned entry is
    but called so, and settings are named only where several tuned entries, or several others, of a method differ.

    Args:
        entries: what are to be called something, side by side.
    """
    many = len({entry.method for entry in entries if entry.tuned}) > FEW
    twins: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for method, _, settings, tuned, _ in entries:
        twins.setdefault((method, many and bool(tuned)), []).append(settings)
    differing = {kind: _differing(all_settings) for kind, all_settings in twins.items()}
    found = []
    for method, title, settings, tuned, given in entries:
        apart = [name for name in settings if name in differing[method, many and bool(tuned)]]
        chosen = [name for name in given if name in settings] + notes.searched(settings, {} if many else tuned)
        named = dict.fromkeys([*chosen, *apart])
        told = ", ".join(f"{k}={on_one_line(settings[k], LONGEST_VALUE)}" for k in named)
        told = f"tuned: {told}" if tuned and told else "tuned" * bool(tuned) + told
        found.append(f"{title} ({told})" if told else title)
    return found


def _differing(twins: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names of settings that are not everywhere the same; what is nowhere said is None."""
    names = {name for settings in twins for name in settings}
    return {name for name in names if len({repr(settings.get(name)) for settings in twins}) > 1}
