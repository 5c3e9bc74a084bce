"""Other people's JSON, read with suspicion: bounded, no key twice, numbers that are numbers, texts that only say."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from mergebench.errors import MergebenchError, is_unseen, on_one_line

BYTES = 1_000_000  # of the JSON file: twenty tasks, five seeds and a method's file take a tenth of it
DEPTH = 16  # levels of lists and mappings; the schema's own are five, conditions and settings add a few
WHOLE = 2**53  # the largest whole number that every reader of JSON holds
SHOWN = 60  # characters of a name or value that a refusal shows
# In a text of its own line: what a page takes for markup. What a spreadsheet takes for a formula: in front, see below.
MARKUP = "<>"
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that are blank
MARKS = 8  # on one letter; no writing has more, and a tower of them stands over the lines beside it
# Python reads a file by the coding that one of its first two lines names, whatever else reads it.
CODING = re.compile(r"^[ \t]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)
FORMULA = "=+-@＝＋－＠"  # noqa: RUF001 (wide letters count too)


class Refused(MergebenchError):
    """A submission that does not hold; the message is the field's path and the reason."""

    @classmethod
    def at(cls, path: str, reason: str) -> "Refused":
        """One field's."""
        return cls(f"{path}: {reason}" if path else reason)


class _Twice(dict[str, Any]):
    """A mapping in which a key stood twice."""

    key = ""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    twice = _Twice(found)
    for key, _ in pairs:
        if key in seen:
            twice.key = key
            break
        seen.add(key)
    return twice


def parsed(content: bytes) -> dict[str, Any]:
    """The mapping that a JSON text holds.

    Args:
        content: the whole file, no longer than `BYTES`.

    Raises:
        Refused: it is none, or holds what no submission needs; with the path of the first such field.
    """
    if len(content) > BYTES:
        raise Refused(f"{len(content):,} bytes; a submission's JSON has {BYTES:,} at most")
    try:
        # Numbers are read as what they say: NaN, and 1e999, are then found with their path.
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_mapping)
    except RecursionError:
        raise Refused(f"nested deeper than {DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise Refused(f"not UTF-8 text: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError:  # a whole number of thousands of digits
        raise Refused(f"a number of thousands of digits; the largest is {WHOLE}") from None
    if not isinstance(found, dict):
        raise Refused("not a mapping of fields")
    for path, reason in _faults(found, "", 1):
        raise Refused.at(path, reason)
    return found


def _faults(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Path and reason of everything in a value that no submission needs, in its order."""
    if isinstance(value, dict | list) and depth > DEPTH:
        yield path, f"nested deeper than {DEPTH} levels"
        return
    if isinstance(value, _Twice):
        yield below(path, value.key), "the key stands twice"
    if isinstance(value, dict):
        for key, inner in value.items():
            reason = odd_text(key)
            yield from [(below(path, key), f"the name {reason}")] if reason else []
            yield from _faults(inner, below(path, key), depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _faults(inner, below(path, number), depth + 1)
    elif isinstance(value, str):
        reason = odd_code(value) if path == "code.text" else odd_text(value)
        yield from [(path, reason)] if reason else []
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, "not a finite number"
    elif isinstance(value, int | float) and abs(value) > WHOLE:
        yield path, f"beyond {WHOLE}"


def below(path: str, name: str | int) -> str:
    """The path of a field in another, on one line; of a long name, its beginning."""
    told = on_one_line(name)
    told = told if len(told) <= SHOWN else f"{told[:SHOWN]}..."
    return f"{path}.{told}" if path else told


def odd_text(text: str) -> str:
    """Why a line of text may do more than be read; empty if it may not."""
    unseen = next((c for c in text if is_unseen(c) or c in "\u200c\u200d\ufffe\uffff" or c in FILLERS), "")
    if unseen:
        return f"holds the unseen character U+{ord(unseen):04X} (control, direction, format or filler)"
    if text and not text.strip():
        return "holds blanks alone"
    if not text.isascii() and "m" * (MARKS + 1) in "".join(map(_kind, text)):
        return f"holds more than {MARKS} marks on one letter"
    markup = next((c for c in text if c in MARKUP), "")
    if markup:
        return f"holds {markup!r}, which a page may take for markup"
    if text.lstrip()[:1] in tuple(FORMULA) and not re.fullmatch(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", text):
        return f"begins with {text.lstrip()[0]!r}, which a spreadsheet takes for a formula"
    return ""


def odd_code(text: str) -> str:
    """Why a file of code does not say what it seems to; empty if it does."""
    unseen = next((c for c in text if is_unseen(c) and c not in "\n\t"), "")
    if unseen:
        return f"holds the unseen character U+{ord(unseen):04X} (control, direction or format)"
    coding = next(filter(None, map(CODING.match, text.split("\n", 2)[:2])), None)
    if coding and coding[1].lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
        return f"names the coding {coding[1]!r}, in which Python would read another text than stands here; only utf-8"
    return ""


def _kind(character: str) -> str:
    """The letter "m" for a mark that stands on the letter before it, "-" for all else."""
    return "m" if unicodedata.category(character) in ("Mn", "Me") else "-"
