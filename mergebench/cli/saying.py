"""What verbs say on the terminal, whatever the names, titles and errors in it hold."""

import json
from typing import TYPE_CHECKING, Any

from mergebench.errors import LONGEST, on_one_line

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str, flush: bool = False) -> None:
    """Print a line."""
    print(on_one_line(text), flush=flush)


def say_json(content: Any) -> None:
    """Print what a script reads; nothing in it acts on a terminal, as JSON spells what is not ASCII."""
    print(json.dumps(content, indent=1))


def tell(console: "Console", text: str) -> None:
    """Print one line on a console on which a bar may stand."""
    console.print(on_one_line(text, LONGEST))
