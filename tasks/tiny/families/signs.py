"""Signs: road signs over photographs (stands for GTSRB)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, any_colour, finish, layer, tilt, write
from mergebench.tasks.tiny.drawing.sources import backdrop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

RED, BLUE, YELLOW, WHITE, BLACK, GREY = (
    (190, 25, 35), (20, 75, 165), (250, 200, 20), (240, 240, 235), (15, 15, 15), (120, 120, 120)
)  # fmt: skip
Points = tuple[tuple[float, float], ...]
FACES = ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf", "cmss10.ttf")

# Pictograms as polygons in a square from -1 to 1, y down.
UP: Points = (
    (0, -0.8), (0.45, -0.2), (0.17, -0.2), (0.17, 0.75), (-0.17, 0.75), (-0.17, -0.2), (-0.45, -0.2)
)  # fmt: skip
TURN: Points = (
    (-0.5, 0.75), (-0.5, -0.2), (0.1, -0.2), (0.1, -0.55), (0.75, -0.02), (0.1, 0.5), (0.1, 0.15), (-0.15, 0.15),
    (-0.15, 0.75)
)  # fmt: skip
BEND: Points = (
    (-0.35, 0.8), (-0.35, 0.0), (0.1, -0.35), (-0.05, -0.5), (0.55, -0.65), (0.5, -0.05), (0.32, -0.18),
    (-0.05, 0.15), (-0.05, 0.8)
)  # fmt: skip
CAR: Points = (
    (-0.38, 0.4), (-0.38, 0), (-0.25, -0.1), (-0.15, -0.4), (0.15, -0.4), (0.25, -0.1), (0.38, 0), (0.38, 0.4)
)  # fmt: skip
WALKER: Points = (
    (-0.1, -0.5), (0.15, -0.5), (0.4, -0.05), (0.15, -0.1), (0.15, 0.2), (0.45, 0.8), (0.2, 0.8), (0, 0.4),
    (-0.2, 0.8), (-0.45, 0.8), (-0.15, 0.2), (-0.15, -0.2), (-0.4, 0.05)
)  # fmt: skip


@dataclass(frozen=True)
class Sign:
    """A plate, its colours and what is on it."""

    plate: str
    text: str = ""
    shapes: tuple[Points, ...] = ()
    mark: str = ""


def _mirrored(points: Points) -> Points:
    return tuple((-x, y) for x, y in points)


def _moved(points: Points, dx: float, scale: float) -> Points:
    return tuple((x * scale + dx, y * scale) for x, y in points)


SIGNS = {
    "speed limit 20": Sign("ring", "20"),
    "speed limit 30": Sign("ring", "30"),
    "speed limit 50": Sign("ring", "50"),
    "speed limit 60": Sign("ring", "60"),
    "speed limit 80": Sign("ring", "80"),
    "no overtaking": Sign("ring", shapes=(_moved(CAR, -0.42, 1.0), _moved(CAR, 0.42, 1.0))),
    "no vehicles": Sign("ring"),
    "no entry": Sign("red disc", mark="bar"),
    "stop": Sign("octagon", "STOP"),
    "give way": Sign("inverted triangle"),
    "priority road": Sign("diamond"),
    "danger": Sign("triangle", "!"),
    "bend to the left": Sign("triangle", shapes=(_mirrored(BEND),)),
    "bend to the right": Sign("triangle", shapes=(BEND,)),
    "pedestrians": Sign("triangle", shapes=(WALKER,), mark="head"),
    "ahead only": Sign("blue disc", shapes=(UP,)),
    "turn right": Sign("blue disc", shapes=(TURN,)),
    "turn left": Sign("blue disc", shapes=(_mirrored(TURN),)),
    "roundabout": Sign("blue disc", mark="circle"),
    "end of limits": Sign("white disc", mark="stripes"),
}
CLASSES = tuple(SIGNS)
TEMPLATES = ('a photo of a "{}" traffic sign.', 'a close up of a "{}" road sign.', "a {} sign.")


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A sign of the class seen at an angle before a piece of photograph.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    image = backdrop(split, rng, CANVAS)
    plate = layer()
    _paint(plate, SIGNS[CLASSES[label]], FACES[rng.integers(len(FACES))])
    plate = tilt(plate, rng, 0.1, (0.75, 1.1), 0.1).rotate(rng.normal(0, 6))
    image.paste(plate, (0, 0), plate)
    facts = {"colour": any_colour(rng)[0], "plate": SIGNS[CLASSES[label]].plate}
    return finish(image, rng, blur=1.0, light=0.45, cast=0.12, noise=10), facts


def _paint(image: "Image.Image", sign: Sign, face: str) -> None:
    """Draws the plate, then its pictogram, in the middle of the layer."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    middle, radius = CANVAS / 2, 0.44 * CANVAS

    def disc(fraction: float, fill: tuple[int, int, int]) -> None:
        r = radius * fraction
        pen.ellipse((middle - r, middle - r, middle + r, middle + r), fill=fill)

    def polygon(sides: int, turn: float, fraction: float, fill: tuple[int, int, int], drop: float = 0.0) -> None:
        angles = [turn + 2 * math.pi * k / sides for k in range(sides)]
        r = radius * fraction
        pen.polygon([(middle + r * math.cos(a), middle + drop * radius + r * math.sin(a)) for a in angles], fill=fill)

    ink, centre, scale = BLACK, (middle, middle), 0.62
    if sign.plate == "ring":
        disc(1.0, RED)
        disc(0.76, WHITE)
    elif sign.plate == "white disc":
        disc(1.0, GREY)
        disc(0.92, WHITE)
    elif sign.plate in ("red disc", "blue disc"):
        disc(1.0, WHITE)
        disc(0.94, RED if sign.plate == "red disc" else BLUE)
        ink = WHITE
    elif sign.plate == "octagon":
        polygon(8, math.pi / 8, 1.06, WHITE)
        polygon(8, math.pi / 8, 0.98, RED)
        ink = WHITE
    elif sign.plate == "diamond":
        polygon(4, 0, 1.08, WHITE)
        polygon(4, 0, 0.8, YELLOW)
    elif sign.plate == "triangle":
        polygon(3, -math.pi / 2, 1.2, RED, 0.2)
        polygon(3, -math.pi / 2, 0.82, WHITE, 0.2)
        centre, scale = (middle, middle + 0.22 * radius), 0.42
    else:
        polygon(3, math.pi / 2, 1.2, RED, -0.2)
        polygon(3, math.pi / 2, 0.72, WHITE, -0.2)

    if sign.text:
        height = {4: 0.3, 2: 0.56, 1: 0.6}[len(sign.text)] * CANVAS
        write(image, sign.text, centre, face, int(height), ink)
    for shape in sign.shapes:
        pen.polygon([(centre[0] + x * scale * radius, centre[1] + y * scale * radius) for x, y in shape], fill=ink)
    _mark(pen, sign.mark, centre, radius, ink)


def _mark(
    pen: "ImageDraw.ImageDraw", mark: str, centre: tuple[float, float], radius: float, ink: tuple[int, int, int]
) -> None:
    """The pictograms that are no polygon."""
    x, y = centre
    if mark == "bar":
        pen.rectangle((x - 0.7 * radius, y - 0.18 * radius, x + 0.7 * radius, y + 0.18 * radius), fill=ink)
    elif mark == "head":
        r = 0.08 * radius
        pen.ellipse((x - r, y - 0.4 * radius, x + r, y - 0.4 * radius + 2 * r), fill=ink)
    elif mark == "circle":
        r = 0.5 * radius
        for start in (0, 120, 240):
            pen.arc((x - r, y - r, x + r, y + r), start, start + 80, fill=ink, width=int(0.2 * radius))
            a = math.radians(start + 90)
            tip = (x + 0.42 * radius * math.cos(a), y + 0.42 * radius * math.sin(a))
            pen.regular_polygon((*tip, 0.2 * radius), 3, rotation=-start - 180, fill=ink)
    elif mark == "stripes":
        for offset in (-0.24, -0.08, 0.08, 0.24):
            dx = offset * radius
            pen.line((x - 0.5 * radius + dx, y + 0.5 * radius + dx, x + 0.5 * radius + dx, y - 0.5 * radius + dx),
                     fill=ink, width=max(2, int(0.07 * radius)))  # fmt: skip


TASK = Entry(
    name="signs",
    title="Road signs",
    stands_for="gtsrb",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source=PHOTOGRAPHS,
    licence=PHOTOGRAPH_TERMS,
    real="the backgrounds",
    drawn="the signs: plates, numbers, pictograms, perspective",
    generic=("road sign", "traffic sign", "sign"),
    named=("{} sign", "{} traffic sign", "{}"),
    weight=2.0,
)
