"""Three small image folders to try one's own models on, as the tutorial in README does: shapes, stripes and counts.

python benchmarks/tutorial_images.py images
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

IMAGES = 300  # of each class
Drawer = Callable[[ImageDraw.ImageDraw, np.random.Generator, tuple[int, ...]], None]


def polygon(sides: int) -> Drawer:
    """A regular polygon somewhere, turned a little."""

    def draw(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
        radius = rng.uniform(10, 18)
        x, y = rng.uniform(radius, 48 - radius, 2)
        pen.regular_polygon((x, y, radius), sides, rotation=rng.uniform(-15, 15), fill=colour)

    return draw


def stripes(angle: float) -> Drawer:
    """Parallel lines at an angle, give or take ten degrees."""

    def draw(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
        turn, gap, width = math.radians(angle + rng.uniform(-10, 10)), rng.uniform(7, 11), int(rng.integers(2, 5))
        across, along = np.array([-math.sin(turn), math.cos(turn)]), np.array([math.cos(turn), math.sin(turn)])
        for step in range(-6, 7):
            middle = 24 + across * (step * gap + rng.uniform(0, 1))
            pen.line([tuple(middle - 50 * along), tuple(middle + 50 * along)], fill=colour, width=width)

    return draw


def dots(count: int) -> Drawer:
    """So many discs that do not touch."""

    def draw(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
        radius = rng.uniform(4, 6)
        cells = rng.permutation([(x, y) for x in (10, 24, 38) for y in (10, 24, 38)])[:count]
        for x, y in cells + rng.uniform(-2, 2, (count, 2)):
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)

    return draw


TASKS = {
    "shapes": {"triangle": polygon(3), "square": polygon(4), "disc": polygon(30)},
    "stripes": {"level": stripes(0), "upright": stripes(90), "slanting": stripes(45)},
    "counts": {"one": dots(1), "two": dots(2), "four": dots(4)},
}


def main(folder: Path) -> None:
    """Write folder/TASK/CLASS/NUMBER.png for all tasks."""
    for place, (task, classes) in enumerate(TASKS.items()):
        rng = np.random.default_rng(place)
        for name, draw in classes.items():
            (folder / task / name).mkdir(parents=True, exist_ok=True)
            for number in range(IMAGES):
                # A noisy ground of any colour, and a figure that stands out from it.
                ground = rng.integers(0, 256, 3)
                pixels = np.clip(ground + rng.normal(0, 12, (48, 48, 3)), 0, 255).astype(np.uint8)
                image = Image.fromarray(pixels)
                figure = tuple(int(c) for c in (ground + rng.integers(80, 176, 3)) % 256)
                draw(ImageDraw.Draw(image), rng, figure)
                image.save(folder / task / name / f"{number:03}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "images"))
