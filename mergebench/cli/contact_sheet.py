"""A picture of a task's test images for the leaderboard's page of it, where they may be shown and are at hand."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergebench.data.task import Task, TaskCard

COLUMNS, ROWS = 10, 20  # images of a class, classes
LARGEST = 64  # side of an image on the sheet, in pixels
BYTES = 100_000
# Licences under which images may be passed on; what else a licence says must not take that back.
FREE = ("cc0", "cc by", "mit", "public domain")
NOT_FREE = ("not stated", "states none", "non-commercial", "-nc", "-nd", "research", "fair use")


def may_be_shown(card: "TaskCard") -> bool:
    """Whether a page may hold a task's images: they are drawn here, or their licence is a free one."""
    licence = card.licence.lower()
    drawn = card.drawn not in ("", "nothing")
    return drawn or (any(w in licence for w in FREE) and not any(w in licence for w in NOT_FREE))


def sheet_of(task: "Task", folder: Path) -> tuple[bytes | None, str]:
    """The first test images of every class, a row for each.

    Args:
        task: whose. Its images are not made for it: only what is in the image cache is shown.
        folder: the site's; a sheet of the same images that is there is taken.

    Returns:
        The picture (WebP), None where there is none, and what it shows or why there is none.
    """
    from mergebench.leaderboard.site.known import sheet_path

    card = task.card
    if not may_be_shown(card):
        return None, f"Its licence ({card.licence}) does not say that its images may be shown here."
    shown = min(len(card.classes), ROWS)
    which = "every class" if shown == len(card.classes) else f"{shown} classes"
    note = f"The first test images of {which}, a row for each."
    there = folder / sheet_path(card.name, task.fingerprint)
    if there.is_file():
        return there.read_bytes(), note
    picture = None if task.at else _drawn(task, shown)
    return picture, note if picture else "There is a picture of them where they are in the image cache."


def _drawn(task: "Task", rows: int) -> bytes | None:
    import io

    import numpy as np
    from PIL import Image

    from mergebench.data.image_cache import kept_images

    kept = kept_images(task, "test")
    if kept is None:
        return None
    images, labels = kept
    height, width = (min(side, LARGEST) for side in images.shape[1:3])
    board = np.full((rows * height, COLUMNS * width, 3), 255, dtype=np.uint8)
    for row in range(rows):
        for column, index in enumerate(np.flatnonzero(labels == row)[:COLUMNS]):
            image = Image.fromarray(np.asarray(images[index])).resize((width, height))
            board[row * height : (row + 1) * height, column * width : (column + 1) * width] = np.asarray(image)
    for quality in (90, 70, 50, 30):
        text = io.BytesIO()
        Image.fromarray(board).save(text, format="WEBP", quality=quality)
        if text.tell() <= BYTES:
            return text.getvalue()
    return None
