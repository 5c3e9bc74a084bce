"""A source's labels in the order of the card's classes: matched by name, so that no order is taken on trust.

Names are compared as they are written, then in lower case, then by their letters, digits and marks: the strictest
comparison that finds any class decides. Labels that have no names, or whose names are mere counters ("7", "class_07"),
are ids in the card's order, from 0 or from 1; but where the classes are numbers themselves, by their own names or by
those that `labels` gives them, they are what these say.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError, is_unseen

if TYPE_CHECKING:
    import numpy as np

VERSION = 1  # raise it whenever a label would be matched with another class
MOST = 1_000_000  # bare numbers stay below: a class is made for what they count

_COUNTER = re.compile(r"([^\W\d]*[\W_]*)(\d+)")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

Also = Sequence[str | Sequence[str]]


def order(names: Sequence[str] | None, used: Sequence[int], classes: Sequence[str], also: Also = ()) -> "np.ndarray":
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
        MergebenchError: a class without a label, a label without a class, or one that may be of two.
    """
    import numpy as np

    if used and used[0] < 0:
        raise MergebenchError(f"label {used[0]}: these labels are not public; name another split (see `splits`)")
    if names is not None and used and used[-1] >= len(names):
        raise MergebenchError(f"label {used[-1]}, but the data name {len(names)} classes")
    if names is None:
        check_number(used[-1] if used else 0)
        found = _by_number(used, classes, also)
        if found is None:
            told = f"{used[0]} to {used[-1]}" if used else "nowhere"
            raise MergebenchError(
                f"labels without names run from {told}, but the card's classes are 0 to {len(classes) - 1}"
            )
    else:
        found = _by_name(names, used, classes, also)
    ids = np.full(max(found, default=-1) + 1, -1, dtype=np.int64)
    ids[list(found)] = list(found.values())
    return ids


def check_number(label: int) -> None:
    """Refuses, by a MergebenchError, a number that is no label: as many classes would be made."""
    if abs(label) >= MOST:
        raise MergebenchError(
            f"label {str(label)[:20]}: labels that are numbers stay below {MOST:,}; count from 0, or write names"
        )


def check_seen(names: Sequence[str], where: str) -> None:
    """Refuses, by a MergebenchError, names that nobody can tell apart by looking, and control characters in one."""
    seen: dict[str, str] = {}
    for name in names:
        shown = "".join(c for c in name if not is_unseen(c))
        if seen.setdefault(shown, name) != name or any(unicodedata.category(c) == "Cc" for c in name):
            told = " and ".join(dict.fromkeys(map(ascii, (seen[shown], name))))
            raise MergebenchError(f"{where}: {told}: characters that are not seen tell no classes apart; remove them")


def normal(name: str) -> str:
    """A name as Unicode composes it (NFC): file systems and keyboards spell one and the same name in two ways."""
    return unicodedata.normalize("NFC", name).strip()


def numbers(classes: Sequence[str], also: Also = ()) -> bool:
    """Whether any class is called a number."""
    spelt = (*classes, *(name for names in also for name in _several(names)))
    return any(_value(name) is not None for name in spelt)


def numbered(classes: Sequence[str], also: Also = ()) -> bool:
    """Whether some classes are numbers, and others than their places: labels that are numbers mean those then."""
    return any(values != {place} for place, values in _values(classes, also).items())


def renumbered(names: Sequence[str] | None, used: Sequence[int], classes: Sequence[str], also: Also = ()) -> bool:
    """Whether `order` goes by what numbers say, where counting from 0 or from 1 would come to other classes."""
    known = _known(_letters, classes, also)
    if names is not None and any(_letters(name) in known for name in names):
        return False
    numbers = dict(zip(used, used, strict=True)) if names is None else dict(enumerate(_numbers(names) or ()))
    ids, first = order(names, used, classes, also), min(numbers.values(), default=0) != 0
    return any(ids[label] != number - first for label, number in numbers.items())


def two_orders(names: Sequence[str]) -> bool:
    """Whether names count and come in another order as numbers than as text ("1", "10", "2")."""
    numbers = _numbers(names)
    return numbers is not None and numbers != sorted(numbers)


def _by_number(numbers: Sequence[int], classes: Sequence[str], also: Also) -> dict[int, int] | None:
    """The class of each number; None if they count no such classes.

    Raises:
        MergebenchError: the classes are numbers too, and other ones.
    """
    values = _values(classes, also)
    owners: dict[int, int] = {}
    for place, value in ((place, value) for place, own in values.items() for value in sorted(own)):
        if owners.setdefault(value, place) != place:
            raise MergebenchError(
                f"classes {classes[owners[value]]!r} and {classes[place]!r} both mean the number {value}; give one of "
                "them another (`classes`, `labels`)"
            )
    if values and all(number in owners for number in numbers):
        return {number: owners[number] for number in numbers}
    first = _first(sorted(numbers), len(classes))
    found = None if first is None else {number: number - first for number in numbers}
    if values and (found is None or any(n not in values.get(place, {n}) for n, place in found.items())):
        raise MergebenchError(
            f"labels are numbers, {min(numbers, default=0)} to {max(numbers, default=0)}, and so are the classes "
            f"{_told([classes[place] for place in values])}, but other ones; say under `labels` which number each "
            "class has"
        )
    return found


def _values(classes: Sequence[str], also: Also) -> dict[int, set[int]]:
    """The numbers that a class is called, by its place; classes that are called none are left out."""
    found: dict[int, set[int]] = {}
    for place, spelling in _spellings(classes, also):
        value = _value(spelling)
        if value is not None:
            found.setdefault(place, set()).add(value)
    return found


def _value(name: str) -> int | None:
    """The number that a name is: "7", "seven", "7 - seven"."""
    number, dash, word = normal(name).lower().partition(" - ")
    spelt = _WORDS.index(number) if number in _WORDS else None
    value = int(number) if re.fullmatch(r"-?\d{1,6}", number) else spelt
    return value if not dash or (value is not None and _WORDS[value : value + 1] == (word,)) else None


def _spellings(classes: Sequence[str], also: Also) -> Iterator[tuple[int, str]]:
    """All that a class may be called, with its place."""
    told = {_letters(other) for others in also for other in _several(others)}
    for place, name in enumerate(classes):
        others = _several(also[place]) if also else []
        if not (others and _letters(name) in told):
            yield place, name
        for other in others:
            yield place, other


def _several(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _by_name(names: Sequence[str], used: Sequence[int], classes: Sequence[str], also: Also) -> dict[int, int]:
    known = [_known(spelt, classes, also) for spelt in _SPELT]
    for spelling, places in known[0].items():
        if len(places) > 1:
            one, other = (classes[place] for place in sorted(places)[:2])
            raise MergebenchError(f"{spelling!r} is a name of two classes: {one!r}, {other!r}")
    found: dict[int, int] = {}
    for label, name in enumerate(names):
        places = next((by[key] for spelt, by in zip(_SPELT, known, strict=True) if (key := spelt(name)) in by), set())
        if len(places) > 1:
            told = " or ".join(repr(classes[place]) for place in sorted(places))
            raise MergebenchError(f"the data's {name!r} may be class {told}; write its name under `labels`")
        if places:
            found[label] = next(iter(places))
    numbers = None if found else _numbers(names)
    if numbers is not None and len(set(numbers)) == len(numbers):
        counted = _by_number(numbers, classes, also)
        if counted is not None:
            return {label: counted[number] for label, number in enumerate(numbers)}
    _check(names, used, classes, found)
    return found


def _known(spelt: Callable[[str], str], classes: Sequence[str], also: Also) -> Mapping[str, set[int]]:
    """Spelling -> the places of the classes that may be spelt so."""
    known: dict[str, set[int]] = {}
    for place, name in _spellings(classes, also):
        known.setdefault(spelt(name), set()).add(place)
    return known


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


def _lower(name: str) -> str:
    return normal(normal(name).lower())


def _letters(name: str) -> str:
    """Letters and digits with their marks, in lower case; a name of signs alone ("+") as it is."""
    return "".join(c for c in _lower(name) if c.isalnum() or unicodedata.category(c)[0] == "M") or normal(name)


_SPELT = (normal, _lower, _letters)  # what names are compared by, the strictest first


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The numbers of names that count: digits behind one and the same beginning."""
    matches = [match for name in names if (match := _COUNTER.fullmatch(name.strip()))]
    if len(matches) < len(names) or len({m[1].lower() for m in matches}) != 1:
        return None
    return [int(m[2]) for m in matches]


def _first(numbers: Sequence[int], classes: int) -> int | None:
    """From what number these (ascending) count a card's classes: 0, 1, or None if they do not."""
    if not numbers:
        return None
    if numbers[0] == 0 and numbers[-1] < classes:
        return 0
    return 1 if numbers[0] >= 1 and numbers[-1] == classes else None
