"""A contact sheet: a row per corruption; per image the clean one and the five severities.

python -m mergebench.tasks.corruptions.sheet --out sheet.png [--task signs] [--image 0 1 2]
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mergebench.data.corruption import SEVERITIES, generator
from mergebench.tasks.corruptions import CORRUPTIONS

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

LABELS, GAP = 150, 8  # pixels on the sheet


def sheet(images: "np.ndarray", indices: Sequence[int], key: str, zoom: int = 3) -> "Image.Image":
    """Some of the images under every corruption, with the very pixels that `corrupt` gives.

    Args:
        images: uint8 [N, H, W, 3].
        indices: which of them.
        key: what the images are, as for `corrupt`.
        zoom: pixels on the sheet per pixel of an image.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    height, width = (zoom * side for side in images.shape[1:3])
    block = (1 + len(SEVERITIES)) * width + GAP
    board = Image.new("RGB", (LABELS + len(indices) * block, len(CORRUPTIONS) * (height + GAP)), "white")
    writer = ImageDraw.Draw(board)
    for row, corruption in enumerate(CORRUPTIONS.values()):
        top = row * (height + GAP)
        writer.text((GAP, top + height // 2), corruption.title, "black")
        for place, index in enumerate(indices):
            clean = np.array(images[index])
            shown = [clean] + [corruption.apply(clean, s, generator(corruption, key, index)) for s in SEVERITIES]
            strip = Image.fromarray(np.concatenate(shown, axis=1))
            strip = strip.resize((strip.width * zoom, strip.height * zoom), Image.Resampling.NEAREST)
            board.paste(strip, (LABELS + place * block, top))
    return board


def main() -> None:
    """Writes the sheet of some test images of a tiny task."""
    from mergebench.tasks.tiny import TASKS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="the PNG file to write")
    parser.add_argument("--task", choices=tuple(TASKS), default="signs")
    parser.add_argument("--image", type=int, nargs="+", default=[0, 1, 2], help="indices into the test split")
    parser.add_argument("--zoom", type=int, default=3)
    options = parser.parse_args()
    images, _ = TASKS[options.task].load("test")
    if not all(0 <= index < len(images) for index in options.image):
        parser.error(f"--image: {options.task} has test images 0 to {len(images) - 1}")
    sheet(images, options.image, f"{options.task}/test", options.zoom).save(options.out)


if __name__ == "__main__":
    main()
