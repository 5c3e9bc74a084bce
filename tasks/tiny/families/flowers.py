"""Flowers: species in bloom over greenery (stands for Oxford Flowers 102)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, Colour, colour, finish, layer, shade, tilt
from mergebench.tasks.tiny.drawing.sources import crop
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

WATERS = ((25, 45, 50), (25, 45, 50), (50, 70, 90))
GROUNDS = (
    (45, 90, 30),
    (45, 90, 30),
    (45, 90, 30),
    (20, 35, 20),
    (100, 120, 70),
    (90, 75, 55),
)  # leaf, shade, dry, soil
DISC = CANVAS // 2  # half the layer a flower is drawn on


@dataclass(frozen=True)
class Bloom:
    """A species.

    Args:
        colours: of the petals, by name.
        petals: fewest and most petals of a ring; none for blooms that are not a star seen from above.
        width: of a petal, relative to the gap between two of its ring.
        tip: 0 pointed, 1 blunt.
        rings: rings of petals, each smaller than the one before.
        centre: colour of the middle and its radius relative to the bloom's.
        mark: what else is drawn, or the whole bloom where there are no petals.
        many: probability of two to four blooms instead of one.
    """

    colours: tuple[str, ...]
    petals: tuple[int, int] = (0, 0)
    width: float = 1.0
    tip: float = 0.5
    rings: int = 1
    centre: tuple[Colour, float] = ((230, 180, 30), 0.0)
    mark: str = ""
    many: float = 0.3


BLOOMS = {
    "oxeye daisy": Bloom(("white", "white", "pink"), (14, 20), 0.9, 0.7, 1, ((235, 185, 25), 0.3), many=0.5),
    "sunflower": Bloom(("yellow", "yellow", "orange"), (15, 22), 1.3, 0.0, 2, ((70, 42, 20), 0.5), many=0.15),
    "dandelion": Bloom(("yellow",), (22, 30), 0.8, 0.9, 4, ((225, 165, 10), 0.1), many=0.5),
    "corn poppy": Bloom(("red", "red", "orange"), (4, 4), 1.5, 1.6, 1, ((25, 20, 25), 0.2), many=0.4),
    "daffodil": Bloom(("yellow", "white"), (6, 6), 0.95, 0.15, 1, ((245, 140, 15), 0.36), "trumpet", 0.4),
    "tulip": Bloom(("red", "yellow", "pink", "purple", "white", "orange"), mark="cup", many=0.5),
    "foxglove": Bloom(("pink", "purple", "white"), mark="spike", many=0.3),
    "rose": Bloom(("red", "pink", "white", "yellow", "orange"), mark="whorl", many=0.25),
    "water lily": Bloom(("pink", "white", "white"), (9, 11), 1.15, 0.0, 3, ((240, 190, 40), 0.2), "pads", 0.15),
    "passion flower": Bloom(("white", "white", "pink"), (10, 10), 1.1, 0.4, 1, ((200, 205, 110), 0.2), "crown", 0.1),
    "pansy": Bloom(("purple", "yellow", "white", "blue", "orange"), (5, 5), 1.4, 1.5, 1, mark="face", many=0.3),
    "hibiscus": Bloom(("red", "pink", "yellow", "white", "orange"), (5, 5), 1.35, 1.2, mark="column", many=0.15),
    "coneflower": Bloom(("pink", "purple"), (11, 15), 0.9, 0.8, mark="cone", many=0.4),
    "morning glory": Bloom(("blue", "purple", "pink"), mark="funnel", many=0.4),
}
CLASSES = tuple(BLOOMS)


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """One to four blooms of the species over a piece of lawn, garden or gravel.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    bloom = BLOOMS[CLASSES[label]]
    name = bloom.colours[rng.integers(len(bloom.colours))]
    image = _greenery(rng, split, bloom.mark == "pads")
    side = int(rng.uniform(0.55, 1.15) * CANVAS)
    spots = [CANVAS / 2 + rng.normal(0, 0.07 * CANVAS, size=2)]
    if rng.random() < bloom.many:
        side = int(rng.uniform(0.4, 0.64) * CANVAS)
        turn, count = rng.uniform(0, 2 * math.pi), rng.integers(2, 5)
        around = [turn + 2 * math.pi * k / count + rng.normal(0, 0.2) for k in range(count)]
        spots = [(CANVAS * (0.5 + 0.27 * math.cos(a)), CANVAS * (0.5 + 0.27 * math.sin(a))) for a in around]
    for x, y in spots:
        flower = layer()
        _bloom(flower, bloom, name, rng)
        flower = tilt(flower, rng, 0.14, (0.95, 1.05), 0.0).resize((side, side))
        image.paste(flower, (int(x - side / 2), int(y - side / 2)), flower)
    _leaves(image, rng, rng.integers(0, 3))
    return finish(image, rng, blur=1.2, light=0.35, cast=0.12, noise=9), {"colour": name}


def _greenery(rng: "np.random.Generator", split: str, water: bool) -> "Image.Image":
    """What grows behind: a real crop, tinted to leaves, shade, soil or water, with a few drawn leaves."""
    from PIL import Image, ImageDraw

    source = ("grass", "grass", "flower", "gravel")[rng.integers(4)]
    image = crop(source, split, rng, CANVAS, least=0.4)
    tints = WATERS if water else GROUNDS
    tint = tints[rng.integers(len(tints))]
    tint = tuple(int(c * rng.uniform(0.7, 1.3)) for c in tint)
    image = Image.blend(image, Image.new("RGB", image.size, tint), rng.uniform(0.45, 0.75))
    _leaves(image, rng, rng.integers(1, 7))
    if water:
        pen = ImageDraw.Draw(image)
        for x, y in rng.uniform(0, CANVAS, (rng.integers(2, 6), 2)):
            leaf, r = shade((70, 115, 60), rng.uniform(0.5, 1.3)), rng.uniform(10, 22)
            pen.pieslice((x - r, y - 0.7 * r, x + r, y + 0.7 * r), rng.integers(360), rng.integers(360, 700), fill=leaf)
    return image


def _leaves(image: "Image.Image", rng: "np.random.Generator", count: int) -> None:
    """Long leaves anywhere, over whatever is there."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    for x, y, angle in rng.uniform((0, 0, 0), (CANVAS, CANVAS, 2 * math.pi), (count, 3)):
        leaf = shade((80, 120, 55), rng.uniform(0.4, 1.4))
        _petal(pen, (x, y), angle, rng.uniform(20, 50), rng.uniform(3, 9), 0.0, leaf)


def _petal(
    pen: "ImageDraw.ImageDraw",
    root: tuple[float, float],
    angle: float,
    length: float,
    half: float,
    tip: float,
    fill: Colour,
) -> None:
    """A petal or leaf from its root outwards; `tip` 0 pointed, 1 blunt, above 1 broadest near its end."""
    along = (0.0, 0.25, 0.55, 0.8, 0.94, 1.0)
    across = (0.15, 0.55 - 0.1 * tip, 1.0, 0.6 + 0.32 * tip, 0.22 + 0.45 * tip, 0.5 * max(tip - 0.4, 0))
    edge = [(u * length, w * half) for u, w in zip(along, across, strict=True)]
    edge += [(u, -w) for u, w in reversed(edge)]
    c, s = math.cos(angle), math.sin(angle)
    pen.polygon([(root[0] + u * c - w * s, root[1] + u * s + w * c) for u, w in edge], fill=fill)


def _bloom(image: "Image.Image", bloom: Bloom, name: str, rng: "np.random.Generator") -> None:
    """Draws one bloom in the middle of a layer."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    tone = colour(name, rng)
    if not bloom.petals[0]:
        _MARKS[bloom.mark](pen, tone, rng)
        return
    count = int(rng.integers(bloom.petals[0], bloom.petals[1] + 1))
    radius, turn = 0.94 * DISC, rng.uniform(0, 2 * math.pi)
    if bloom.mark == "face":
        turn = -math.pi / 2 + rng.normal(0, 0.15) + math.pi / 5
    for ring in range(bloom.rings):
        size = radius * (1 - ring / (bloom.rings + 0.8))
        for k in range(count):
            angle = turn + 2 * math.pi * (k + 0.5 * ring) / count + rng.normal(0, 0.03)
            lit = shade(tone, rng.uniform(0.78, 1.05) * (1 - 0.06 * (bloom.rings - 1 - ring)))
            half = bloom.width * size * 0.62 * math.sin(min(math.pi / count, 0.8))
            length = size * rng.uniform(0.92, 1.0)
            if bloom.mark == "cone":  # its petals hang
                length *= 0.8 + 0.2 * math.sin(angle)
            _petal(pen, (DISC, DISC), angle, length, half * 1.12, bloom.tip, shade(lit, 0.68))
            _petal(pen, (DISC, DISC), angle, length * 0.96, half * 0.9, bloom.tip, lit)
    middle, part = bloom.centre
    if part:
        _disc(pen, DISC, DISC, part * radius, shade(middle, rng.uniform(0.8, 1.15)))
    if bloom.mark in _MARKS:
        _MARKS[bloom.mark](pen, tone, rng)
    elif part > 0.15:
        _disc(pen, DISC, DISC, 0.5 * part * radius, shade(middle, 0.75))


def _disc(pen: "ImageDraw.ImageDraw", x: float, y: float, r: float, fill: Colour, flat: float = 1.0) -> None:
    pen.ellipse((x - r, y - flat * r, x + r, y + flat * r), fill=fill)


def _trumpet(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    ring = shade((250, 160, 20), rng.uniform(0.85, 1.05))
    for k in range(8):
        _disc(pen, DISC + 13 * math.cos(k * 0.785), DISC + 13 * math.sin(k * 0.785), 6, ring)
    _disc(pen, DISC, DISC, 11, shade(ring, 0.6))


def _crown(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    outer = shade((85, 65, 190), rng.uniform(0.8, 1.2))
    for k in range(36):
        a = k * math.pi / 18
        tip = (DISC + 33 * math.cos(a), DISC + 33 * math.sin(a))
        pen.line((DISC, DISC, *tip), fill=outer, width=3)
    _disc(pen, DISC, DISC, 21, (235, 230, 240))
    _disc(pen, DISC, DISC, 14, (75, 25, 70))
    for k in range(5):
        a = k * 2 * math.pi / 5 + 0.3
        pen.line((DISC, DISC, DISC + 13 * math.cos(a), DISC + 13 * math.sin(a)), fill=(200, 205, 100), width=5)


def _face(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    dark = (45, 15, 60) if sum(tone) > 250 else (15, 8, 30)
    for angle in (math.pi / 2, math.pi / 2 + 1.25, math.pi / 2 - 1.25):
        _petal(pen, (DISC, DISC), angle, rng.uniform(23, 30), 11, 1.3, dark)
    _disc(pen, DISC, DISC + 1, 5, (250, 210, 40))


def _column(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    _disc(pen, DISC, DISC, 13, shade((130, 10, 40), rng.uniform(0.8, 1.2)))
    angle = rng.uniform(0, 2 * math.pi)
    tip = (DISC + 30 * math.cos(angle), DISC + 30 * math.sin(angle))
    pen.line((DISC, DISC, *tip), fill=(240, 190, 120), width=6)
    for spot in rng.normal(0, 3.5, size=(8, 2)):
        _disc(pen, tip[0] + spot[0], tip[1] + spot[1], 3, (250, 215, 50))


def _cone(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    _disc(pen, DISC, DISC - 4, 21, (95, 40, 20), 0.85)
    _disc(pen, DISC, DISC - 7, 16, shade((205, 95, 30), rng.uniform(0.8, 1.15)), 0.8)


def _stem(pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", top: float) -> None:
    pen.line((DISC, top, DISC + rng.normal(0, 6), CANVAS), fill=shade((70, 130, 50), rng.uniform(0.7, 1.3)), width=5)


def _cup(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    _stem(pen, rng, 55)
    green = shade((60, 125, 60), rng.uniform(0.7, 1.2))
    for side in (-1, 1):
        _petal(pen, (DISC, 95), -math.pi / 2 + side * rng.uniform(0.35, 0.7), 45, 6, 0.0, green)
    opened = rng.uniform(0.12, 0.34)
    for side, factor in ((0, 0.6), (-1, 0.78), (1, 0.9)):
        for grow, lit in ((1.1, 0.7), (0.95, 1.0)):
            angle = -math.pi / 2 + side * opened
            _petal(pen, (DISC, 66), angle, 60 * (0.95 + 0.05 * grow), 17 * grow, 0.3, shade(tone, factor * lit))
    _petal(pen, (DISC, 66), -math.pi / 2, 50, 13, 0.4, shade(tone, 1.05))


def _spike(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    _stem(pen, rng, 8)
    rows = int(rng.integers(6, 9))
    for row in range(rows):
        size = 8 + 15 * (row + 1) / rows
        y = 6 + 72 * row / rows
        for side in (-1, 1, 0) if row % 2 else (1, -1):
            lit = shade(tone, rng.uniform(0.75, 1.05))
            x = DISC + side * size * 0.35
            angle = math.pi / 2 - side * 0.65
            _petal(pen, (x, y), angle, size, size * 0.3, 1.6, shade(lit, 0.65))
            _petal(pen, (x, y), angle, size * 0.92, size * 0.24, 1.6, lit)
            end = (x + 0.82 * size * math.cos(angle), y + 0.82 * size * math.sin(angle))
            _disc(pen, *end, 0.14 * size, shade(tone, 0.4))


def _whorl(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    turn, radius = rng.uniform(0, 6.3), 0.92 * DISC
    for ring in range(6):
        size = radius * (1 - ring * 0.165)
        for k in range(5 if ring < 4 else 3):
            a = turn + ring * 0.75 + k * 2 * math.pi / (5 if ring < 4 else 3)
            x, y, r = DISC + 0.42 * size * math.cos(a), DISC + 0.42 * size * math.sin(a), 0.58 * size
            _disc(pen, x, y, r, shade(tone, 0.5 + 0.05 * rng.random()))
            lit = shade(tone, rng.uniform(0.8, 1.0) * (1 - 0.06 * ring))
            _disc(pen, x - 0.05 * size * math.cos(a), y - 0.05 * size * math.sin(a), 0.9 * r, lit)


def _funnel(pen: "ImageDraw.ImageDraw", tone: Colour, rng: "np.random.Generator") -> None:
    radius, turn = 0.92 * DISC, rng.uniform(0, 6.3)
    _disc(pen, DISC, DISC, radius, shade(tone, 0.75))
    _disc(pen, DISC, DISC, 0.93 * radius, tone)
    for k in range(5):
        _petal(pen, (DISC, DISC), turn + k * 2 * math.pi / 5, 0.93 * radius, 6, 0.0, shade(tone, 1.35))
    _disc(pen, DISC, DISC, 0.42 * radius, shade((250, 235, 250), rng.uniform(0.85, 1.0)))
    _disc(pen, DISC, DISC, 0.16 * radius, (245, 225, 120))


_MARKS = {
    "trumpet": _trumpet, "crown": _crown, "face": _face, "column": _column, "cone": _cone, "cup": _cup,
    "spike": _spike, "whorl": _whorl, "funnel": _funnel,
}  # fmt: skip

TASK = Entry(
    name="flowers",
    title="Flowers",
    stands_for="oxford_flowers102",
    classes=CLASSES,
    templates=("a photo of a {}, a type of flower.", "a photo of a {} in bloom.", "a {} flower."),
    draw=draw,
    source="scikit-image (grass, gravel), scikit-learn (flower)",
    licence="grass and gravel: CC0; flower.jpg: CC BY 2.0",
    real="the greenery behind",
    drawn="the blooms: fourteen species by petals, colours and centre",
    generic=("flower", "flower in bloom", "garden flower"),
    named=("{}", "{} flower", "{} in bloom"),
)
