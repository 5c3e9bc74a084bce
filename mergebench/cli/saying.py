"""What verbs say on the terminal, whatever the names, titles and errors in it hold."""

from typing import TYPE_CHECKING

from mergebench.errors import LONGEST, on_one_line

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str, flush: bool = False) -> None:
    """Print a line."""
    print(on_one_line(text), flush=flush)


def tell(console: "Console", text: str) -> None:
    """Print one line on a console on which a bar may stand."""
    console.print(on_one_line(text, LONGEST))
