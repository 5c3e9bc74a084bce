"""Data as scripts: what a browser may read of files on disk, where it refuses to fetch them."""

import json
from typing import Any

from mergebench.errors import is_unseen

# What would end the element that a script stands in, or a line of it.
SPELT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def as_script(name: str, data: Any) -> str:
    """A script that puts data under a name; whatever the texts in it hold, it does nothing else.

    Args:
        name: what it is asked for by.
        data: as JSON has it.
    """
    return f"mergebench.data[{_json(name)}] = {_json(data)};\n"


def _json(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, spelt in SPELT.items():
        text = text.replace(character, spelt)
    # What is not seen acts on whoever looks at the file; a script reads it the same.
    for character in filter(is_unseen, set(text)):
        text = text.replace(character, json.dumps(character)[1:-1])
    # Half a pair of UTF-16 is in no UTF-8 file.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
