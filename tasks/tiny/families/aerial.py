"""Aerial views: layouts seen from above on photographed ground (stands for RESISC45)."""

import math
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import Colour, any_colour, colour, finish, shade, spin
from mergebench.tasks.tiny.drawing.sources import crop
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

CLASSES = (
    "airport runway",
    "road crossing",
    "roundabout",
    "storage tanks",
    "meandering river",
    "terraced houses",
    "car park",
    "bridge",
    "beach",
    "circular farmland",
    "sports stadium",
    "harbour",
    "railway",
    "island",
)
TEMPLATES = ("an aerial photo of a {}.", "satellite imagery of a {}.", "a {} seen from above.")

WIDE = 138  # canvas before rotation: its central CANVAS square is covered at every angle
GROUNDS = {"green": (95, 125, 70), "brown": (140, 115, 85), "grey": (130, 130, 128), "yellow": (190, 170, 120)}


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A layout of the class, seen from above at a random angle.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions of grass, gravel and brick may be used for the ground.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import ImageDraw

    ground_name = tuple(GROUNDS)[rng.integers(len(GROUNDS))]
    image = _ground(split, rng, GROUNDS[ground_name])
    _LAYOUTS[label](image, ImageDraw.Draw(image), rng, split)
    return finish(spin(image, rng.uniform(0, 360)), rng, blur=0.5), {"ground": ground_name}


def _ground(split: str, rng: "np.random.Generator", tint: Colour) -> "Image.Image":
    """Grass or gravel in a ground colour."""
    from PIL import Image, ImageOps

    grey = crop(("grass", "gravel")[rng.integers(2)], split, rng, WIDE, least=0.9).convert("L")
    textured = ImageOps.colorize(grey, black=shade(tint, 0.35), white=shade(tint, 1.6))
    return Image.blend(textured, Image.new("RGB", textured.size, tint), rng.uniform(0.2, 0.6))


def _middle(rng: "np.random.Generator", spread: float = 10) -> tuple[float, float]:
    return WIDE / 2 + rng.uniform(-spread, spread), WIDE / 2 + rng.uniform(-spread, spread)


def _tarmac(rng: "np.random.Generator") -> Colour:
    return shade((110, 110, 112), rng.uniform(0.5, 1.2))


def _water(rng: "np.random.Generator") -> Colour:
    return shade((45, 95, 120), rng.uniform(0.6, 1.3))


def _box(pen: "ImageDraw.ImageDraw", x: float, y: float, w: float, h: float, fill: Colour) -> None:
    pen.rectangle((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=fill)


def _disc(pen: "ImageDraw.ImageDraw", x: float, y: float, r: float, fill: Colour) -> None:
    pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _wave(rng: "np.random.Generator", height: float) -> list[tuple[float, float]]:
    """A winding line across the canvas, left to right."""
    phase, cycles = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1.6)
    return [
        (x, WIDE / 2 + height * math.sin(phase + cycles * 2 * math.pi * x / WIDE) + rng.normal(0, 1.0))
        for x in range(-6, WIDE + 10, 6)
    ]


def _runway(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    x, y = _middle(rng)
    width = rng.uniform(20, 32)
    _box(pen, x, y, 2 * WIDE, width, _tarmac(rng))
    for k in range(-4, 5):
        _box(pen, x + 18 * k, y, 9, 2.5, (235, 235, 235))
    for k in range(6):
        _box(pen, x - 30, y - width * 0.4 + k * width * 0.16, 14, 2, (235, 235, 235))


def _crossing(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    x, y = _middle(rng)
    tarmac, width = _tarmac(rng), rng.uniform(14, 24)
    _box(pen, x, y, 2 * WIDE, width, tarmac)
    _box(pen, x, y, width, 2 * WIDE, tarmac)
    for k in (-4, -3, -2, 2, 3, 4):
        _box(pen, x + 14 * k, y, 7, 1.5, (230, 230, 230))
        _box(pen, x, y + 14 * k, 1.5, 7, (230, 230, 230))


def _roundabout(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    x, y = _middle(rng)
    tarmac, width, radius = _tarmac(rng), rng.uniform(11, 16), rng.uniform(22, 30)
    _box(pen, x, y, 2 * WIDE, width, tarmac)
    _box(pen, x, y, width, 2 * WIDE, tarmac)
    _disc(pen, x, y, radius, tarmac)
    _disc(pen, x, y, radius - width * 0.8, colour("green", rng))


def _tanks(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    spacing = rng.uniform(30, 42)
    radius = spacing * rng.uniform(0.34, 0.45)
    x0, y0 = _middle(rng)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            if rng.random() < 0.85:
                x, y = x0 + i * spacing, y0 + j * spacing
                _disc(pen, x + 4, y + 4, radius, (50, 50, 45))
                _disc(pen, x, y, radius, colour("white", rng))
                _disc(pen, x, y, radius * 0.3, (200, 200, 200))


def _river(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    pen.line(_wave(rng, rng.uniform(14, 28)), fill=_water(rng), width=int(rng.uniform(10, 22)), joint="curve")


def _terraces(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    pitch = rng.uniform(28, 38)
    top = rng.uniform(-pitch, 0)
    _, roof = any_colour(rng, ("red", "orange", "brown", "grey"))
    for row in range(6):
        y = top + row * pitch
        _box(pen, WIDE / 2, y + pitch / 2, 2 * WIDE, 6, _tarmac(rng))
        for k in range(12):
            tone = shade(roof, rng.uniform(0.7, 1.1))
            _box(pen, 12 * k, y - 4, 11, 9, tone)
            _box(pen, 12 * k, y + 4.5, 11, 8, shade(tone, 0.6))


def _parking(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    _box(pen, WIDE / 2, WIDE / 2, 2 * WIDE, 2 * WIDE, _tarmac(rng))
    pitch, top = rng.uniform(26, 34), rng.uniform(-20, 0)
    for row in range(7):
        for k in range(14):
            x, y = 10 * k + 4, top + row * pitch
            _box(pen, x - 5, y, 1.5, 18, (220, 220, 220))
            if rng.random() < 0.75:
                _box(pen, x, y, 6.5, 14, any_colour(rng)[1])


def _bridge(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    x, y = _middle(rng)
    _box(pen, x, y, rng.uniform(45, 70), 2 * WIDE, _water(rng))
    width = rng.uniform(12, 18)
    _box(pen, x, y + 3, 2 * WIDE, width, (40, 50, 55))
    _box(pen, x, y, 2 * WIDE, width, _tarmac(rng))
    _box(pen, x, y, 2 * WIDE, 1.5, (230, 230, 230))


def _beach(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    shore, shift = _wave(rng, rng.uniform(4, 10)), rng.uniform(-14, 6)
    for offset, fill in ((-18, (225, 205, 160)), (0, (235, 240, 240)), (5, _water(rng))):
        pen.polygon([(x, y + shift + offset) for x, y in shore] + [(WIDE, 2 * WIDE), (0, 2 * WIDE)], fill=fill)


def _farmland(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    spacing = rng.uniform(38, 56)
    x0, y0 = _middle(rng, 20)
    for i in (-2, -1, 0, 1, 2):
        for j in (-2, -1, 0, 1, 2):
            x, y, r = x0 + i * spacing, y0 + j * spacing, spacing * 0.47
            crop_colour = any_colour(rng, ("green", "brown", "yellow", "green"))[1]
            _disc(pen, x, y, r, crop_colour)
            start = rng.uniform(0, 360)
            pen.pieslice((x - r, y - r, x + r, y + r), start, start + rng.uniform(20, 120), shade(crop_colour, 0.7))


def _stadium(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    x, y = _middle(rng)
    w, h = rng.uniform(36, 44), rng.uniform(24, 30)
    for grow, fill in ((10, (170, 170, 175)), (0, any_colour(rng, ("red", "orange", "brown"))[1]), (-8, (60, 130, 60))):
        pen.rounded_rectangle((x - w - grow, y - h - grow, x + w + grow, y + h + grow), h + grow, fill=fill)
    pen.rectangle((x - w * 0.5, y - h * 0.4, x + w * 0.5, y + h * 0.4), outline=(235, 235, 235), width=2)


def _harbour(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    _box(pen, WIDE / 2, WIDE / 2, 2 * WIDE, 2 * WIDE, _water(rng))
    pitch, top = rng.uniform(36, 46), rng.uniform(0, 20)
    for row in range(4):
        y = top + row * pitch
        _box(pen, WIDE / 2, y, 2 * WIDE, 4, (175, 160, 140))
        for k in range(12):
            for side in (-1, 1):
                if rng.random() < 0.75:
                    x, bow = 12 * k + 3, y + side * 17
                    pen.polygon([(x - 3.5, y + side * 3), (x + 3.5, y + side * 3), (x + 3, y + side * 11), (x, bow),
                                 (x - 3, y + side * 11)], fill=(240, 240, 240))  # fmt: skip


def _railway(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    x, y = _middle(rng)
    tracks = int(rng.integers(2, 5))
    for k in range(tracks):
        centre = y + (k - (tracks - 1) / 2) * 19
        _box(pen, x, centre, 2 * WIDE, 16, (105, 95, 90))
        for sleeper in range(24):
            _box(pen, 6 * sleeper, centre, 2, 12, (60, 50, 45))
        for rail in (-4, 4):
            _box(pen, x, centre + rail, 2 * WIDE, 1.6, (200, 200, 205))


def _island(image: "Image.Image", pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", split: str) -> None:
    land = image.copy()
    _box(pen, WIDE / 2, WIDE / 2, 2 * WIDE, 2 * WIDE, _water(rng))
    from PIL import Image, ImageDraw

    mask = Image.new("L", image.size, 0)
    x, y = _middle(rng)
    radius, lobes, phase = rng.uniform(20, 32), int(rng.integers(2, 5)), rng.uniform(0, 6)
    outline = []
    for k in range(36):
        a = 2 * math.pi * k / 36
        r = radius * (1 + 0.2 * math.sin(lobes * a + phase) + rng.normal(0, 0.04))
        outline.append((x + r * math.cos(a), y + 0.8 * r * math.sin(a)))
    pen.line(outline + outline[:2], fill=(230, 215, 175), width=7, joint="curve")
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    image.paste(land, (0, 0), mask)


_LAYOUTS = (
    _runway,
    _crossing,
    _roundabout,
    _tanks,
    _river,
    _terraces,
    _parking,
    _bridge,
    _beach,
    _farmland,
    _stadium,
    _harbour,
    _railway,
    _island,
)


TASK = Entry(
    name="aerial",
    title="Aerial views",
    stands_for="resisc45",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="scikit-image (grass, gravel)",
    licence="CC0",
    real="the ground's texture",
    drawn="the layouts: roads, roofs, water, tanks",
    generic=("place from above", "aerial view", "map"),
    named=("{} from above", "{} in an aerial photo", "{}"),
    weight=0.5,
)
