"""Pets: breeds of cats and dogs, head and shoulders (stands for Oxford-IIIT Pet)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, Colour, any_colour, finish, layer, shade, tilt
from mergebench.tasks.tiny.drawing.sources import backdrop, crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Coats: colours of the animals' hair.
CREAM, WHITE, TAN, RUST, BROWN, DARK, GREY, SILVER, BLACK, PINK, FAWN = (
    (225, 208, 180), (238, 235, 228), (190, 140, 85), (200, 125, 60), (115, 75, 45), (62, 42, 34), (105, 108, 118),
    (172, 172, 174), (34, 32, 35), (218, 172, 152), (208, 178, 138)
)  # fmt: skip
NECK = (CANVAS / 2, 0.5 * CANVAS)


@dataclass(frozen=True)
class Breed:
    """How a breed looks from the front; lengths in head radii.

    Args:
        coats: colours a coat may have.
        wide, tall: half axes of the head.
        ears: kind, length and half width: "prick" stands, "fold" hangs at the side.
        muzzle: half width, half height, and how far below the eyes' line its middle lies.
        eyes: colour and radius.
        parts: colours of "ear", "muzzle", "mask", "blaze", "cheeks", "back", "chest" where not the coat's.
        pattern: "tabby", "spots" or nothing.
        shaggy: length of the hair that stands off the outline.
    """

    coats: tuple[Colour, ...]
    wide: float
    tall: float
    ears: tuple[str, float, float]
    muzzle: tuple[float, float, float]
    eyes: tuple[Colour, float]
    parts: dict[str, Colour]
    pattern: str = ""
    shaggy: float = 0.0


BLUE, GREEN, AMBER, HAZEL, COAL = (90, 155, 225), (130, 195, 90), (235, 175, 40), (175, 165, 70), (30, 20, 18)
CAT = (0.34, 0.24, 0.42)  # a cat's muzzle
BREEDS = {
    "siamese": Breed((CREAM, WHITE), 0.86, 0.9, ("prick", 0.95, 0.42), CAT, (BLUE, 0.19), {"ear": DARK, "mask": DARK}),
    "persian": Breed((WHITE, SILVER, RUST, CREAM), 1.1, 0.92, ("prick", 0.42, 0.3), (0.42, 0.26, 0.32), (AMBER, 0.22),
                     {}, shaggy=0.28),
    "bengal": Breed((RUST, TAN), 0.88, 0.88, ("prick", 0.62, 0.38), CAT, (GREEN, 0.18), {"muzzle": CREAM}, "spots"),
    "sphynx": Breed((PINK,), 0.78, 0.92, ("prick", 1.15, 0.58), CAT, (HAZEL, 0.22), {}, "folds"),
    "russian blue": Breed((GREY,), 0.92, 0.86, ("prick", 0.75, 0.42), CAT, (GREEN, 0.2), {}),
    "maine coon": Breed((BROWN, GREY, TAN), 0.92, 0.94, ("prick", 1.05, 0.36), (0.42, 0.32, 0.46), (AMBER, 0.16),
                        {"muzzle": WHITE, "chest": WHITE}, "tabby", 0.22),
    "bombay": Breed((BLACK,), 0.92, 0.86, ("prick", 0.66, 0.4), CAT, (AMBER, 0.21), {}),
    "beagle": Breed((TAN, RUST), 0.82, 0.9, ("fold", 1.15, 0.36), (0.36, 0.36, 0.52), (COAL, 0.13),
                    {"blaze": WHITE, "muzzle": WHITE, "ear": BROWN, "back": BLACK, "chest": WHITE}),
    "pug": Breed((FAWN, CREAM), 1.0, 0.92, ("fold", 0.5, 0.3), (0.52, 0.4, 0.4), (COAL, 0.19),
                 {"muzzle": BLACK, "ear": BLACK}, "folds"),
    "samoyed": Breed((WHITE,), 1.02, 0.92, ("prick", 0.5, 0.3), (0.34, 0.3, 0.45), (COAL, 0.12), {}, shaggy=0.25),
    "scottish terrier": Breed((BLACK, DARK), 0.76, 0.85, ("prick", 0.75, 0.24), (0.58, 0.62, 0.72), (COAL, 0.1), {},
                              shaggy=0.2),
    "shiba inu": Breed((RUST,), 0.95, 0.88, ("prick", 0.6, 0.34), (0.38, 0.3, 0.45), (COAL, 0.12),
                       {"cheeks": WHITE, "muzzle": WHITE, "chest": WHITE}),
    "basset hound": Breed((RUST, BROWN), 0.74, 0.98, ("fold", 1.85, 0.42), (0.46, 0.48, 0.62), (COAL, 0.12),
                          {"blaze": WHITE, "muzzle": WHITE, "ear": BROWN, "chest": WHITE}),
    "yorkshire terrier": Breed((TAN, RUST), 0.8, 0.85, ("prick", 0.7, 0.26), (0.42, 0.4, 0.5), (COAL, 0.13),
                               {"back": GREY}, shaggy=0.3),
    "saint bernard": Breed((WHITE,), 1.0, 0.98, ("fold", 0.8, 0.36), (0.58, 0.48, 0.52), (COAL, 0.12),
                           {"ear": BROWN, "eyepatch": RUST, "back": RUST}),
}  # fmt: skip
CLASSES = tuple(BREEDS)


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """An animal of the breed looking at the camera, on a lawn, on a sofa or before a photograph.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the fur and the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import Image, ImageOps

    image, where = _place(rng, split)
    pet = layer()
    _portrait(pet, BREEDS[CLASSES[label]], rng)
    pet = _furred(pet, rng, split)
    if rng.random() < 0.5:
        pet = ImageOps.mirror(pet)
    pet = tilt(pet.rotate(rng.normal(0, 9), Image.Resampling.BILINEAR), rng, 0.05, (0.85, 1.35), 0.08)
    image.paste(pet, (0, 0), pet)
    return finish(image, rng, blur=0.8, light=0.3, cast=0.1, noise=7), {"background": where} if where else {}


def _place(rng: "np.random.Generator", split: str) -> tuple["Image.Image", str]:
    """A backdrop and its name, if it has one."""
    from PIL import Image, ImageDraw

    kind = rng.random()
    if kind < 0.35:
        tint = tuple(int(c * rng.uniform(0.6, 1.4)) for c in (80, 125, 50))
        return Image.blend(crop("grass", split, rng, CANVAS), Image.new("RGB", (CANVAS,) * 2, tint), 0.5), "grass"
    image = backdrop(split, rng, CANVAS)
    if kind < 0.65:
        return image, ""
    name, cloth = any_colour(rng)
    image = Image.blend(image, Image.new("RGB", image.size, cloth), rng.uniform(0.5, 0.9))
    if rng.random() < 0.6:  # the edge of a seat or a floor
        y = rng.uniform(45, 80)
        ImageDraw.Draw(image).rectangle((0, y, CANVAS, CANVAS), fill=shade(cloth, rng.uniform(0.5, 1.4)))
    return image, name


def _furred(pet: "Image.Image", rng: "np.random.Generator", split: str) -> "Image.Image":
    """The animal with the hair of a real cat's coat upon it."""
    import numpy as np
    from PIL import Image

    hair = np.asarray(crop("chelsea", split, rng, CANVAS).convert("L"), dtype=np.float32)
    hair = 1 + rng.uniform(0.1, 0.3) * (hair - hair.mean()) / (hair.std() + 12)
    pixels = np.asarray(pet).copy()
    pixels[:, :, :3] = np.clip(pixels[:, :, :3] * hair[:, :, None] + rng.uniform(0, 12), 0, 255)
    return Image.fromarray(pixels)


class _Brush:
    """Shapes in head radii around the head's middle, turned to one side."""

    def __init__(self, image: "Image.Image", rng: "np.random.Generator", x: float, y: float, radius: float) -> None:
        from PIL import ImageDraw

        self.pen: ImageDraw.ImageDraw = ImageDraw.Draw(image)
        self.rng, self.x, self.y, self.radius = rng, x, y, radius

    def oval(self, x: float, y: float, a: float, b: float, fill: Colour, shaggy: float = 0.0) -> None:
        """An ellipse, its rim frayed by hair of length `shaggy`."""
        x, y, a, b = self.x + x * self.radius, self.y + y * self.radius, a * self.radius, b * self.radius
        if shaggy:
            ways = 1 + shaggy * self.rng.uniform(-0.1, 1, 34) * ([0.2, 1.0] * 17)
            turns = [k * math.pi / 17 for k in range(34)]
            rim = [(x + w * a * math.cos(t), y + w * b * math.sin(t)) for w, t in zip(ways, turns, strict=True)]
            self.pen.polygon(rim, fill=fill)
        else:
            self.pen.ellipse((x - a, y - b, x + a, y + b), fill=fill)

    def shape(self, points: tuple[tuple[float, float], ...], fill: Colour) -> None:
        """A polygon."""
        self.pen.polygon([(self.x + x * self.radius, self.y + y * self.radius) for x, y in points], fill=fill)


def _portrait(image: "Image.Image", breed: Breed, rng: "np.random.Generator") -> None:
    """Draws the animal's body and head on the layer."""
    radius = rng.uniform(22, 27)
    brush = _Brush(image, rng, NECK[0] + rng.normal(0, 3), NECK[1] - 3 + rng.normal(0, 2), radius)
    coat = shade(breed.coats[rng.integers(len(breed.coats))], rng.uniform(0.82, 1.12))
    tone = {part: shade(fill, rng.uniform(0.85, 1.15)) for part, fill in breed.parts.items()}
    side, lean = rng.uniform(-0.2, 0.9), rng.uniform(-0.18, 0.18)  # where the body is, where the head looks
    _body(brush, breed, coat, tone, side)
    kind, length, half = breed.ears
    length, half = length * rng.uniform(0.9, 1.1), half * rng.uniform(0.9, 1.1)
    ear = tone.get("ear", shade(coat, 0.82))
    if kind == "prick":
        for way in (-1, 1):
            x, y = way * breed.wide * 0.62 + 0.4 * lean, -0.55 * breed.tall
            tip = (x + way * (0.18 + 0.1 * length), y - length * 0.82)
            brush.shape(((x - half, y + 0.12), tip, (x + half, y + 0.25)), ear)
            inner = shade(ear, 0.7) if sum(ear) < 250 else (205, 150, 140)
            deep = ((x - 0.5 * half, y), (tip[0], tip[1] + 0.3 * length), (x + 0.5 * half, y + 0.1))
            brush.shape(deep, inner)
    brush.oval(0, 0, breed.wide, breed.tall, shade(coat, 0.75), breed.shaggy)
    brush.oval(0, 0, 0.95 * breed.wide, 0.95 * breed.tall, coat, breed.shaggy)
    _markings(brush, breed, coat, tone, lean)
    if kind == "fold":
        for way in (-1, 1):
            x = way * breed.wide * 0.88
            out = x + way * half
            drop = -0.55 + length
            points = ((0.62 * x, -0.75), (out, -0.5), (out + way * 0.12, drop - 0.2), (x, drop), (0.85 * x, 0.0))
            brush.shape(points, shade(ear, rng.uniform(0.85, 1.0)))
    _face(brush, breed, coat, tone, lean)


def _body(brush: _Brush, breed: Breed, coat: Colour, tone: dict[str, Colour], side: float) -> None:
    """What is seen below and behind the head."""
    back = tone.get("back", shade(coat, 0.85))
    brush.oval(side, 1.55, 1.15 + 0.3 * side, 0.95, back, 0.8 * breed.shaggy)
    brush.oval(0.25 * side, 1.65, 0.72, 0.95, tone.get("chest", shade(coat, 0.95)), breed.shaggy)
    if breed.pattern in ("tabby", "spots"):
        for x, y in brush.rng.uniform((side - 0.8, 0.9), (side + 1.0, 2.0), (12, 2)):
            brush.oval(x, y, 0.11, 0.11 if breed.pattern == "spots" else 0.3, shade(coat, 0.4))


def _markings(brush: _Brush, breed: Breed, coat: Colour, tone: dict[str, Colour], lean: float) -> None:
    """The head's coat: mask, cheeks, blaze, stripes, spots, wrinkles."""
    dark = shade(coat, 0.42)
    if "mask" in tone:
        brush.oval(lean, 0.2, 0.58, 0.68, shade(tone["mask"], 1.7))
        brush.oval(lean, 0.3, 0.42, 0.5, tone["mask"])
    if "cheeks" in tone:
        for way in (-1, 1):
            brush.oval(way * 0.52 * breed.wide + 0.5 * lean, 0.42, 0.36, 0.4, tone["cheeks"])
            brush.oval(way * 0.32 + lean, -0.32, 0.1, 0.08, tone["cheeks"])
    if "eyepatch" in tone:
        for way in (-1, 1):
            brush.oval(way * 0.55 + lean, -0.25, 0.36, 0.5, tone["eyepatch"])
    if "blaze" in tone:
        brush.shape(((lean - 0.12, -0.9), (lean + 0.12, -0.9), (lean + 0.26, 0.5), (lean - 0.26, 0.5)), tone["blaze"])
    if breed.pattern == "tabby":
        for x in (-0.36, -0.12, 0.12, 0.36):
            brush.shape(((x - 0.06, -0.9), (x + 0.06, -0.9), (0.7 * x + lean, -0.25)), dark)
        for way in (-1, 1):
            for y in (0.05, 0.3):
                brush.shape(((way * 0.95, y), (way * 0.95, y + 0.12), (way * 0.45, y + 0.1)), dark)
    elif breed.pattern == "spots":
        for x, y in brush.rng.uniform((-0.75, -0.8), (0.75, 0.6), (13, 2)):
            brush.oval(x, y, 0.1, 0.1, dark)
    elif breed.pattern == "folds":
        for y in (-0.75, -0.58, -0.42):
            brush.shape(((-0.4 + lean, y), (lean, y + 0.1), (0.4 + lean, y), (lean, y + 0.03)), shade(coat, 0.6))


def _face(brush: _Brush, breed: Breed, coat: Colour, tone: dict[str, Colour], lean: float) -> None:
    """Muzzle, nose and eyes."""
    half, tall, drop = breed.muzzle
    snout = tone.get("muzzle", tone.get("mask", shade(coat, 1.08)))
    brush.oval(1.3 * lean, drop, half, tall, shade(snout, 0.85), 0.8 * breed.shaggy)
    brush.oval(1.3 * lean, drop - 0.04, 0.92 * half, 0.9 * tall, snout, 0.8 * breed.shaggy)
    cat = breed.eyes[0] != COAL
    nose = (190, 110, 105) if cat and sum(snout) > 300 else (25, 20, 22) if sum(snout) > 120 else (70, 66, 70)
    size = 0.1 if cat else 0.17
    brush.oval(1.5 * lean, drop - 0.5 * tall, size, 0.75 * size, nose)
    brush.shape(((1.4 * lean - 0.03, drop), (1.4 * lean + 0.03, drop), (1.4 * lean, drop + 0.5 * tall)), (60, 35, 35))
    if not cat and brush.rng.random() < 0.35:
        brush.oval(1.4 * lean, drop + 0.8 * tall, 0.14, 0.24, (225, 110, 120))
    iris, r = breed.eyes
    for way in (-1, 1):
        x = way * 0.42 * min(breed.wide, 1.0) + lean
        brush.oval(x, -0.08, 1.25 * r, 1.1 * r, shade(coat, 0.35) if cat else shade(coat, 0.6))
        brush.oval(x, -0.08, r, 0.95 * r, shade(iris, brush.rng.uniform(0.85, 1.1)))
        brush.oval(x, -0.08, 0.38 * r, 0.75 * r, (10, 10, 12))
        brush.oval(x + 0.3 * r, -0.08 - 0.4 * r, 0.03, 0.03, (240, 240, 240))


TASK = Entry(
    name="pets",
    title="Pets",
    stands_for="oxford-iiit-pet",
    classes=CLASSES,
    templates=("a photo of a {}, a type of pet.", "a photo of a {} at home.", "a {} looking at the camera."),
    draw=draw,
    source=f"{PHOTOGRAPHS}; scikit-image (chelsea, grass)",
    licence=PHOTOGRAPH_TERMS,
    real="the backgrounds and the hair of the coats",
    drawn="the animals: fifteen breeds by head, ears, muzzle and coat",
    generic=("pet", "animal", "furry pet"),
    weight=1.5,
)
