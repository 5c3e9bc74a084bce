"""A source's labels in the order of the card's classes: matched by name, so that no order is taken on trust.

Names are compared by their letters and digits, in lower case. Labels that have no names, or whose names are mere
counters ("7", "class_07"), are ids in the card's order, from 0 or from 1.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np

VERSION = 1  # raise it whenever a label would be matched with another class

_COUNTER = re.compile(r"([^\W\d]*[\W_]*)(\d+)")


def order(
    names: Sequence[str] | None, used: Sequence[int], classes: Sequence[str], also: Sequence[str | Sequence[str]] = ()
) -> "np.ndarray":
    """The card's id of each of the source's labels.

    Args:
        names: the source's name of label 0, 1, ...; None if its labels are mere numbers.
        used: the labels that occur in it, ascending.
        classes: the card's, in the order of its ids.
        also: per class, further names (one or several) that a source may have for it. A class that has any
            yields its own name to another of which it is one.

    Returns:
        int64 [largest label + 1]; -1 for a label that neither occurs nor has a class.

    Raises:
        MergebenchError: a class without a label, or a label without a class.
    """
    import numpy as np

    if used and used[0] < 0:
        raise MergebenchError(f"label {used[0]}: these labels are not public; name another split (see `splits`)")
    if names is not None and used and used[-1] >= len(names):
        raise MergebenchError(f"label {used[-1]}, but the data name {len(names)} classes")
    if names is None:
        first = _first(used, len(classes))
        if first is None:
            told = f"{used[0]} to {used[-1]}" if used else "nowhere"
            raise MergebenchError(
                f"labels without names run from {told}, but the card's classes are 0 to {len(classes) - 1}"
            )
        found = {label: label - first for label in used}
    else:
        found = _by_name(names, used, classes, also)
    ids = np.full(max(found, default=-1) + 1, -1, dtype=np.int64)
    ids[list(found)] = list(found.values())
    return ids


def _by_name(
    names: Sequence[str], used: Sequence[int], classes: Sequence[str], also: Sequence[str | Sequence[str]]
) -> dict[int, int]:
    known: dict[str, int] = {}
    told = {_letters(other) for others in also for other in ([others] if isinstance(others, str) else others)}
    for number, name in enumerate(classes):
        others = also[number] if also else ()
        own = [] if others and _letters(name) in told else [name]
        for accepted in (*own, *([others] if isinstance(others, str) else others)):
            if known.setdefault(_letters(accepted), number) != number:
                raise MergebenchError(
                    f"{accepted!r} is a name of two classes: {classes[known[_letters(accepted)]]!r}, {name!r}"
                )
    found = {label: known[_letters(name)] for label, name in enumerate(names) if _letters(name) in known}
    numbers = None if found else _numbers(names)
    if numbers is not None:
        first = _first(sorted(numbers), len(classes))
        if first is not None and len(set(numbers)) == len(numbers):
            return {label: number - first for label, number in enumerate(numbers)}
    _check(names, used, classes, found)
    return found


def _check(names: Sequence[str], used: Sequence[int], classes: Sequence[str], found: dict[int, int]) -> None:
    """Every class has one label, and every label that occurs a class."""
    strangers = [names[label] for label in used if label not in found]
    alone = [name for number, name in enumerate(classes) if number not in found.values()]
    if strangers or alone:
        said = [f"the card has no class {_told(strangers)}"] * bool(strangers)
        said += [f"the data have no class {_told(alone)}"] * bool(alone)
        raise MergebenchError(f"{'; '.join(said)} (see `classes` and `labels`)")
    seen: dict[int, str] = {}
    for label, number in found.items():
        if number in seen:
            raise MergebenchError(
                f"the data's {seen[number]!r} and {names[label]!r} are both class {classes[number]!r}"
            )
        seen[number] = names[label]


def _told(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more


def _letters(name: str) -> str:
    """What names are compared by; a name of signs alone ("+") is compared as it is."""
    return "".join(c for c in name.lower() if c.isalnum()) or name.strip()


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The numbers of names that count: digits behind one and the same beginning."""
    matches = [_COUNTER.fullmatch(name.strip()) for name in names]
    if not all(matches) or len({m[1].lower() for m in matches}) != 1:
        return None
    return [int(m[2]) for m in matches]


def _first(numbers: Sequence[int], classes: int) -> int | None:
    """From what number these (ascending) count a card's classes: 0, 1, or None if they do not."""
    if not numbers:
        return None
    if numbers[0] == 0 and numbers[-1] < classes:
        return 0
    return 1 if numbers[0] >= 1 and numbers[-1] == classes else None
