"""A pen that draws an object's parts by the names of their tones, and the tones that go together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, Colour, layer

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FLOOR = 0.8  # y of feet, tyres and waterlines, in a square from -1 to 1, y down, everything facing right
Point = tuple[float, float]


class Pen:
    """Draws parts named by their tone on a transparent layer; every point is moved a little.

    Args:
        tones: colours of "body", "second" (belly, load, deck ...), "dark", "light" and "glass".
        wobble: standard deviation of a point's movement, in half sides.
        stretch: factors of x and y about the middle of the floor.
    """

    def __init__(
        self, tones: Mapping[str, Colour], rng: "np.random.Generator", wobble: float, stretch: Point = (1, 1)
    ) -> None:
        from PIL import ImageDraw

        self.image = layer()
        self.rng = rng
        self._pen = ImageDraw.Draw(self.image)
        self._tones, self._wobble, self._stretch = tones, wobble, stretch

    def _place(self, points: Sequence[Point]) -> list[Point]:
        moves = self.rng.normal(0, self._wobble, size=(len(points), 2))
        half, (wide, high) = CANVAS / 2, self._stretch
        return [
            (half * (1 + x * wide + dx), half * (1 + FLOOR + (y - FLOOR) * high + dy))
            for (x, y), (dx, dy) in zip(points, moves, strict=True)
        ]

    def shape(self, *points: Point, tone: str = "body") -> None:
        """A filled polygon."""
        self._pen.polygon(self._place(points), fill=self._tones[tone])

    def blob(self, x: float, y: float, rx: float, ry: float, tone: str = "body") -> None:
        """A filled ellipse."""
        (px, py), half = self._place([(x, y)])[0], CANVAS / 2
        rx, ry = rx * half * self._stretch[0], ry * half * self._stretch[1]
        self._pen.ellipse((px - rx, py - ry, px + rx, py + ry), fill=self._tones[tone])

    def limb(self, *points: Point, width: float, tone: str = "body") -> None:
        """A thick line with round ends."""
        placed, w = self._place(points), max(2, round(width * CANVAS / 2))
        self._pen.line(placed, fill=self._tones[tone], width=w, joint="curve")
        for x, y in (placed[0], placed[-1]):
            self._pen.ellipse((x - w / 2, y - w / 2, x + w / 2, y + w / 2), fill=self._tones[tone])


def palette(body: Colour, second: Colour, rng: "np.random.Generator") -> dict[str, Colour]:
    """Tones of all the parts from two colours."""

    def mixed(other: Colour, share: float) -> Colour:
        return tuple(int((1 - share) * a + share * b) for a, b in zip(body, other, strict=True))

    dark = rng.uniform(0.35, 0.6)
    return {
        "body": body,
        "second": second,
        "dark": mixed((10, 10, 12), dark),
        "light": (235, 235, 225),
        "glass": tuple(int(c * rng.uniform(0.4, 1.3)) for c in (80, 105, 130)),
        "wing": mixed((20, 20, 20), rng.uniform(0.15, 0.45)),
        "mane": mixed((25, 18, 12) if sum(body) > 150 else (150, 120, 90), 0.7),
        "horn": (120, 95, 65) if sum(body) > 250 else (185, 165, 130),
        "beak": (235, 150, 30) if rng.random() < 0.6 else (60, 55, 50),
        "face": (215, 175, 140) if sum(body) < 450 else (150, 95, 75),
        "tongue": (215, 90, 100),
        "tyre": (22, 22, 24),
        "hub": (150, 150, 150),
    }


def set_off(image: "Image.Image", body: Colour, least: float) -> "Image.Image":
    """Makes surroundings darker or brighter until they differ from a body by `least` grey levels on average."""
    from PIL import Image, ImageStat

    ground = ImageStat.Stat(image.convert("L")).mean[0]
    level = 0.299 * body[0] + 0.587 * body[1] + 0.114 * body[2]
    if abs(ground - level) >= least:
        return image
    # Towards black behind bright bodies, towards white behind dark ones.
    end, goal = (0, level - least) if level > 127 else (255, level + least)
    return Image.blend(image, Image.new("RGB", image.size, (end,) * 3), min(0.8, (goal - ground) / (end - ground)))
