"""Names in the ways that people write them: in any case, with other separators, and as papers print them."""

from collections.abc import Iterable, Sequence


class Spellings:
    """Names that there are, each with other spellings of it.

    Args:
        names: each name, and behind it what else it is called.
    """

    def __init__(self, names: Iterable[Sequence[str]]) -> None:
        self._exact: set[str] = set()
        self._whose: dict[str, set[str]] = {}
        for name, *others in names:
            self._exact.add(name)
            for spelling in (name, *others):
                self._whose.setdefault(_plain(spelling), set()).add(name)

    def meant(self, word: str) -> str | None:
        """The name that a word means; None if it means none, or several."""
        whose = {word} if word in self._exact else self._whose.get(_plain(word), ())
        return next(iter(whose)) if len(whose) == 1 else None


def meant(name: str, known: Iterable[str]) -> str:
    """The one of these names that is meant; the name itself where that cannot be told."""
    return Spellings([(one,) for one in known]).meant(name) or name


def _plain(name: str) -> str:
    """A name without case and separators; a plus tells methods apart."""
    return "".join(character for character in name.casefold() if character not in "-_ ")
