"""Side views of animals and vehicles: what `objects` and `thumbnails` have in common."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.animals import ANIMALS
from mergebench.tasks.tiny.drawing.draw import Colour
from mergebench.tasks.tiny.drawing.pen import FLOOR, Pen, Point

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def _airplane(pen: Pen) -> None:
    rng, y = pen.rng, 0.05
    thick = rng.uniform(0.13, 0.19)
    pen.shape((0.15, y), (-0.1, y), (-0.35, y - 0.5), (-0.22, y - 0.5), tone="dark")
    pen.shape((-0.6, y), (-0.92, y - rng.uniform(0.45, 0.62)), (-0.72, y - 0.55), (-0.4, y), tone="second")
    pen.shape((-0.95, y - 0.06), (-0.8, y - thick), (0.65, y - thick), (0.95, y + 0.02), (0.8, y + thick),
              (-0.55, y + thick))  # fmt: skip
    pen.limb((-0.5, y - 0.3 * thick), (0.6, y - 0.3 * thick), width=0.05, tone="glass")
    pen.shape((0.72, y - 0.75 * thick), (0.86, y - 0.1 * thick), (0.72, y - 0.1 * thick), tone="glass")
    pen.shape((-0.6, y), (-0.95, y + 0.15), (-0.8, y + 0.17), (-0.45, y + 0.05), tone="dark")
    low = y + rng.uniform(0.45, 0.7)
    pen.shape((0.25, y + 0.04), (-0.1, y + 0.04), (-0.5, low), (-0.3, low + 0.02), tone="second")
    pen.limb((-0.05, y + 0.32), (0.1, y + 0.32), width=0.13, tone="dark")


def _wheels(pen: Pen, places: Sequence[float], radius: float) -> None:
    for x in places:
        pen.blob(x, FLOOR - radius, radius, radius, "tyre")
        pen.blob(x, FLOOR - radius, 0.5 * radius, 0.5 * radius, "hub")


def _car(pen: Pen) -> None:
    rng = pen.rng
    top, radius = FLOOR - rng.uniform(0.85, 1.05), rng.uniform(0.2, 0.25)
    waist, sill = FLOOR - 0.55, FLOOR - 0.13
    back, front = rng.uniform(-0.75, -0.5), rng.uniform(0.2, 0.4)
    pen.shape((-0.95, sill), (-0.93, waist + 0.02), (back, waist), (back + 0.2, top), (front - 0.2, top),
              (front + 0.15, waist), (0.88, waist + 0.1), (0.95, sill))  # fmt: skip
    post = (back + front) / 2
    pen.shape((back + 0.1, waist), (back + 0.24, top + 0.08), (post - 0.03, top + 0.08),
              (post - 0.03, waist), tone="glass")  # fmt: skip
    pen.shape((post + 0.05, waist), (post + 0.05, top + 0.08), (front - 0.22, top + 0.08),
              (front + 0.03, waist), tone="glass")  # fmt: skip
    pen.blob(0.88, waist + 0.2, 0.07, 0.05, "light")
    _wheels(pen, (-0.55, 0.55), radius)


def _truck(pen: Pen) -> None:
    rng = pen.rng
    high, roof = FLOOR - rng.uniform(1.15, 1.45), FLOOR - rng.uniform(0.9, 1.1)
    floor, split = FLOOR - 0.25, rng.uniform(0.25, 0.4)
    pen.shape((-0.95, floor - 0.02), (0.95, floor - 0.02), (0.95, floor + 0.1), (-0.95, floor + 0.1), tone="dark")
    kind = rng.random()
    if kind < 0.65:
        pen.shape((-0.97, floor), (-0.97, high), (split - 0.05, high), (split - 0.05, floor), tone="second")
    elif kind < 0.85:  # tipper
        pen.shape((-0.85, floor), (-0.97, floor - 0.55), (split - 0.05, floor - 0.55),
                  (split - 0.1, floor), tone="second")  # fmt: skip
    else:  # tank
        pen.limb((-0.75, floor - 0.28), (split - 0.3, floor - 0.28), width=0.5, tone="second")
    pen.shape((split, floor + 0.08), (split, roof), (split + 0.35, roof), (0.9, roof + 0.4), (0.95, floor + 0.08))
    pen.shape((split + 0.15, roof + 0.4), (split + 0.15, roof + 0.1), (split + 0.33, roof + 0.1),
              (0.82, roof + 0.4), tone="glass")  # fmt: skip
    _wheels(pen, (-0.7, -0.32, 0.62), rng.uniform(0.17, 0.22))


def _ship(pen: Pen) -> None:
    rng = pen.rng
    deck, water = rng.uniform(0.2, 0.35), 0.72
    kind = rng.random()
    if kind < 0.3:  # under sail
        mast = rng.uniform(-0.15, 0.15)
        pen.limb((mast, deck), (mast, -0.9), width=0.05, tone="dark")
        pen.shape((mast + 0.05, -0.88), (mast + 0.62, deck - 0.1), (mast + 0.05, deck - 0.1), tone="light")
        pen.shape((mast - 0.05, -0.75), (mast - 0.52, deck - 0.1), (mast - 0.05, deck - 0.1), tone="second")
    elif kind < 0.65:  # a liner
        for step in range(3):
            pen.shape((-0.65 + 0.12 * step, deck), (-0.65 + 0.12 * step, deck - 0.2 * (step + 1)),
                      (0.5 - 0.15 * step, deck - 0.2 * (step + 1)), (0.5 - 0.1 * step, deck), tone="light")  # fmt: skip
            pen.limb((-0.5 + 0.12 * step, deck - 0.2 * step - 0.1),
                     (0.35 - 0.15 * step, deck - 0.2 * step - 0.1), width=0.05, tone="glass")  # fmt: skip
        for x in (-0.25, 0.05):
            pen.shape((x, deck - 0.6), (x - 0.04, deck - 0.95), (x + 0.13, deck - 0.95),
                      (x + 0.16, deck - 0.6), tone="second")  # fmt: skip
    else:  # a freighter: bridge aft, boxes before it
        pen.shape((-0.75, deck), (-0.75, deck - 0.65), (-0.45, deck - 0.65), (-0.45, deck), tone="light")
        pen.limb((-0.7, deck - 0.52), (-0.48, deck - 0.52), width=0.06, tone="glass")
        for k in range(4):
            x, tall = -0.38 + 0.26 * k, rng.uniform(0.15, 0.45)
            tone = ("second", "glass", "dark", "light")[rng.integers(4)]
            pen.shape((x, deck), (x, deck - tall), (x + 0.23, deck - tall), (x + 0.23, deck), tone=tone)
    pen.shape((-0.92, deck - 0.05), (0.98, deck - 0.12), (0.72, water), (-0.8, water))
    pen.shape((-0.85, water - 0.12), (0.77, water - 0.12), (0.72, water), (-0.8, water), tone="dark")


VEHICLES = {"airplane": _airplane, "car": _car, "ship": _ship, "truck": _truck}
DRAWINGS = ANIMALS | VEHICLES


def silhouette(
    name: str, tones: Mapping[str, Colour], rng: "np.random.Generator", wobble: float, stretch: Point
) -> "Image.Image":
    """A figure on a transparent layer, facing right.

    Args:
        name: a key of `DRAWINGS`.
        tones, wobble, stretch: see `Pen`; `tones` needs every name of `palette`.
        rng: chooses pose and proportions.

    Returns:
        RGBA, `CANVAS` pixels square.
    """
    pen = Pen(tones, rng, wobble, stretch)
    DRAWINGS[name](pen)
    return pen.image
