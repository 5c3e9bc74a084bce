"""Contact sheets: what every task looks like, a row per class, a block of columns per split.

python -m mergebench.tasks.tiny.sheet --out sheets.png [--task signs]
"""

import argparse
from typing import TYPE_CHECKING

from mergebench.data.task import SPLITS, Task
from mergebench.tasks.tiny import TASKS

if TYPE_CHECKING:
    from PIL import Image


def sheet(task: Task, columns: int = 4, zoom: int = 2) -> "Image.Image":
    """The first images of every class and split.

    Args:
        columns: images per class and split.
        zoom: pixels on the sheet per pixel of an image.
    """
    import numpy as np
    from PIL import Image

    rows, gap = len(task.card.classes), 8
    side = 32
    board = np.full((rows * side, len(SPLITS) * (columns * side + gap), 3), 255, dtype=np.uint8)
    for block, split in enumerate(SPLITS):
        images, labels = task.load(split)
        for row in range(rows):
            for column, image in enumerate(images[labels == row][:columns]):
                x = block * (columns * side + gap) + column * side
                board[row * side : (row + 1) * side, x : x + side] = image
    return Image.fromarray(board).resize((board.shape[1] * zoom, board.shape[0] * zoom), Image.Resampling.NEAREST)


def main() -> None:
    """Writes one sheet, of one task or of all of them side by side."""
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="the PNG file to write")
    parser.add_argument("--task", choices=tuple(TASKS), help="one task only")
    parser.add_argument("--columns", type=int, default=4, help="images per class and split")
    parser.add_argument("--zoom", type=int, default=2)
    options = parser.parse_args()
    tasks = [TASKS[options.task]] if options.task else list(TASKS.values())
    sheets = [sheet(task, options.columns, options.zoom) for task in tasks]
    board = Image.new("RGB", (sum(s.width for s in sheets), max(s.height for s in sheets)), "white")
    left = 0
    for part in sheets:
        board.paste(part, (left, 0))
        left += part.width
    board.save(options.out)


if __name__ == "__main__":
    main()
