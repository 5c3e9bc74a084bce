"""Whose machine it was: names of home folders in what is to be published, replaced by `~`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Home folders of Linux, macOS and Windows, wherever a path begins; the name in one ends where a part of a path does.
PART = r"[^/\\\s:;,'\"<>|()\[\]{}]+"
ELSEWHERE = rf"(?<![\w.~-])(?<!:/)(?:/(?:home|Users)/{PART}|/root(?![\w.-])|[A-Za-z]:[\\/]+Users[\\/]+{PART})"


class Homes:
    """Home folders, each with what stands in its place: `~`, and `~2`, `~3` where there are several.

    Two that differ go on differing, so that what was apart (two settings that are paths) does not become one.

    Args:
        own: this user's; others are known by where homes lie.
    """

    def __init__(self, own: Path | None = None) -> None:
        home = own or Path.home()
        mine = sorted({str(home), str(home.resolve())} - {"/"}, key=len, reverse=True)
        self._pattern = re.compile("|".join([*(rf"{re.escape(path)}(?![\w.-])" for path in mine), ELSEWHERE]))
        self._mine = frozenset(mine)
        self._others: set[str] = set()

    def look(self, content: Any) -> bool:
        """Note the home folders in a text, or in JSON; gives whether there are any."""
        found = {match for text in _texts(content) for match in self._pattern.findall(text)}
        self._others |= found - self._mine
        return bool(found)

    def without(self, content: Any) -> Any:
        """A text, or JSON, in which no home folder has its name, once all that there is was looked at."""
        if isinstance(content, str):
            return self._pattern.sub(lambda match: self._short(match[0]), content)
        if isinstance(content, list):
            return [self.without(one) for one in content]
        if isinstance(content, dict):
            return {self.without(name): self.without(one) for name, one in content.items()}
        return content

    def _short(self, home: str) -> str:
        return "~" if home in self._mine else f"~{sorted(self._others).index(home) + 2}"


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, dict)):
        for one in content:
            yield from _texts(one)
        yield from _texts(list(content.values()) if isinstance(content, dict) else None)
