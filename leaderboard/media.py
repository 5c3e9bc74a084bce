"""Texts that came from files, as each medium may hold them; a terminal's is `errors.on_one_line`.

Ordinary names, titles and settings stay as they are, to the last byte.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from mergebench.errors import on_one_line

# What spreadsheets take for the beginning of a formula, in wide letters too.
FORMULA = "=+-@＝＋－＠"
# What TeX reads otherwise than it stands. Brackets and stars would be taken as arguments of a line's end.
TEX = {
    **{c: f"\\{c}" for c in "{}$&#_%"},
    **{c: f"{{{c}}}" for c in "[]*"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "`": "\\textasciigrave{}",
    '"': "\\char34{}",
    "\xa0": "~",
    "±": "\\ensuremath{\\pm}",
    "×": "\\ensuremath{\\times}",
    "·": "\\ensuremath{\\cdot}",
    "≤": "\\ensuremath{\\leq}",
    "≥": "\\ensuremath{\\geq}",
    "→": "\\ensuremath{\\to}",
    "†": "\\dag{}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": "\\ldots{}",
}
# Letters that are commands without an argument.
LETTERS = {"ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l", "Æ": "AE", "Ø": "O", "Œ": "OE", "Ł": "L"}
# Greek letters that have a name in TeX; the other capitals are Latin ones.
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
# Accents that pdfTeX can set on any letter, by their combining character.
MARKS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327"
ACCENTS = dict(zip(MARKS, "`'^~=u.\"rHvdc", strict=True))
LIGATURES = "-'?!`,"  # two of them in a row, or one before another, may become a third character


def for_markdown(text: str, cell: bool = False) -> str:
    """A text in a Markdown page: it makes no element of HTML, no link and no picture.

    Args:
        text: whatever it is.
        cell: whether it stands in a table, of which it must not end a cell.
    """
    safe = on_one_line(text).replace("<", "&lt;").replace("](", "]\\(")
    # Backslashes before a bar are doubled: the bar's own would else be taken with the last of them, and end the cell.
    return re.sub(r"(\\*)\|", r"\1\1\\|", safe) if cell else safe


def for_csv(value: Any) -> Any:
    """A cell of a table: no spreadsheet takes a text for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = on_one_line(value)
    return f"'{text}" if text.lstrip()[:1] in tuple(FORMULA) and not _is_number(text) else text


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows of cells as a CSV file, every cell through `for_csv`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(for_csv, row) for row in rows)
    return text.getvalue()


def for_latex(text: str) -> str:
    """A text in a LaTeX file that pdfLaTeX sets as it stands: nothing in it is a command, an argument or a comment.

    What the fonts of plain LaTeX have no letter for is spelt (`U+4E2D`).
    """
    found: list[str] = []
    for character in unicodedata.normalize("NFC", on_one_line(text)):
        told = _in_tex(character)
        apart = found and character in LIGATURES and found[-1][-1] in LIGATURES
        found.append("{}" * bool(apart) + told)
    return "".join(found)


def _in_tex(character: str) -> str:
    if character in TEX:
        return TEX[character]
    if character.isascii():
        return character
    if character in LETTERS:
        return f"\\{LETTERS[character]}{{}}"
    kind, _, name = unicodedata.name(character, "").replace("LAMDA", "LAMBDA").rpartition(" LETTER ")
    greek = {"GREEK SMALL": name.lower(), "GREEK CAPITAL": name.capitalize()}.get(kind)
    if greek in f"{GREEK} {CAPITALS}".split():
        return f"\\ensuremath{{\\{greek}}}"
    letter, *accents = unicodedata.normalize("NFD", character)
    if letter.isascii() and letter.isalpha() and len(accents) == 1 and accents[0] in ACCENTS:
        return f"\\{ACCENTS[accents[0]]}{{{letter}}}"
    return f"U+{ord(character):04X}"


def for_typst(text: str) -> str:
    """A text in a Typst file: a string, in which nothing is markup or code."""
    safe = on_one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe}"'


def for_page(value: Any) -> Any:
    """What a page of HTML shows, before its markup is escaped."""
    return on_one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
