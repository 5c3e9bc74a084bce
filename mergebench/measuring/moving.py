"""A result's two files moved elsewhere together: whoever is killed between them finds both in one place later."""

import os
from pathlib import Path

from mergebench.weights.undisturbed import undisturbed
from mergebench.weights.writing import alone, check_writable, refusal, settle


def move_aside(path: Path, place: Path) -> None:
    """Move a JSON file and its side file, beside what is there already.

    Args:
        path: the JSON file.
        place: what it is to be called; a number is added where something is called so.

    Raises:
        MergebenchError: one of the folders cannot be written.
    """
    with undisturbed():
        check_writable(place)
        with alone(place.parent):
            moved = [end for end in (".npz", ".json") if os.path.lexists(path.with_suffix(end))]
            # Predictions first: the JSON brings whoever was killed between the two here again, and joins them.
            taken, number = place, 0
            while any(os.path.lexists(taken.with_suffix(end)) for end in (*moved, ".json")):
                number += 1
                taken = place.with_name(f"{path.stem}.{number}.json")
            try:
                for end in moved:
                    path.with_suffix(end).rename(taken.with_suffix(end))
                settle(place.parent)
                settle(path.parent)
            except OSError as error:
                raise refusal(f"cannot move {path} to {place.parent}", error) from None
