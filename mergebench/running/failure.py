"""What a method raised, in words: it is other people's code, and may raise whatever it likes."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mergebench.errors import MergebenchError, in_words, on_one_line
from mergebench.merging.method import MethodCard


def line_of(error: BaseException, path: str) -> str:
    """The line of the method's own file in which it failed; empty where that is not known, or the error says it all."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{Path(path).name}:{own[-1]}" if own and not isinstance(error, MergebenchError) else ""


@contextmanager
def told_in_words(card: MethodCard) -> Iterator[None]:
    """Whatever a method raises in the block, an exit too, is an error of one line; an interrupt stays one.

    Raises:
        MergebenchError: it failed.
    """
    try:
        yield
    except (MergebenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        line = line_of(error, card.path)
        where = f" (at {line})" if line else ""
        raise MergebenchError(
            f"method {card.name!r} failed: {on_one_line(in_words(error))}{where}; nothing is written"
        ) from error
