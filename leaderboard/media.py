"""Texts that came from files, as each medium may hold them; a terminal's is `errors.on_one_line`.

Ordinary names, titles and settings stay as they are, to the last byte.
"""

from typing import Any

from markupsafe import Markup

from mergebench.errors import on_one_line

# What spreadsheets take for the beginning of a formula, in wide letters too.
FORMULA = "=+-@＝＋－＠"


def for_markdown(text: str, cell: bool = False) -> str:
    """A text in a Markdown page: it makes no element of HTML, no link and no picture.

    Args:
        text: whatever it is.
        cell: whether it stands in a table, of which it must not end a cell.
    """
    safe = on_one_line(text).replace("<", "&lt;").replace("](", "]\\(")
    return safe.replace("|", "\\|") if cell else safe


def for_csv(value: Any) -> Any:
    """A cell of a table: no spreadsheet takes a text for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = on_one_line(value)
    return f"'{text}" if text.lstrip()[:1] in tuple(FORMULA) and not _is_number(text) else text


def for_page(value: Any) -> Any:
    """What a page of HTML shows, before its markup is escaped."""
    return on_one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
