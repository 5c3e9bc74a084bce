"""Food: dishes on plates and boards, seen from above or aslant (stands for Food-101)."""

import math
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, Colour, any_colour, colour, finish, layer, shade, tilt
from mergebench.tasks.tiny.drawing.sources import backdrop, crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Colours, Point = tuple[Colour, ...], tuple[float, float]
MIDDLE = CANVAS / 2
GREENS: Colours = ((70, 130, 40), (110, 165, 60), (45, 95, 35), (150, 190, 90))
DOUGHS: Colours = ((205, 145, 75), (185, 118, 55), (222, 168, 95))
TOPPINGS: Colours = ((190, 40, 30), (60, 115, 45), (35, 30, 35), (240, 235, 220), (225, 165, 60), (150, 90, 110))
SWEETS: Colours = ((235, 130, 170), (95, 50, 30), (245, 240, 230), (130, 200, 175), (240, 200, 90), (150, 110, 190))
SAUCES: Colours = ((190, 30, 20), (245, 200, 40), (130, 65, 20), (245, 240, 225))


class _Cook:
    """A pen over a layer, its places counted from the middle, and a generator that makes no two dishes alike."""

    def __init__(self, image: "Image.Image", rng: "np.random.Generator") -> None:
        from PIL import ImageDraw

        self.pen, self.rng = ImageDraw.Draw(image), rng

    def pick(self, colours: Colours, spread: float = 0.15) -> Colour:
        return shade(colours[self.rng.integers(len(colours))], self.rng.uniform(1 - spread, 1 + spread))

    def disc(self, x: float, y: float, r: float, fill: Colour, flat: float = 1.0) -> None:
        x, y = MIDDLE + x, MIDDLE + y
        self.pen.ellipse((x - r, y - flat * r, x + r, y + flat * r), fill=fill)

    def lump(self, x: float, y: float, r: float, fill: Colour, rough: float = 0.15) -> None:
        """A round thing with an uneven rim."""
        rim = [turned(k * 0.571, q, 0) for k, q in enumerate(r * (1 + self.rng.normal(0, rough, 11)))]
        self.pen.polygon([(MIDDLE + x + u, MIDDLE + y + v) for u, v in rim], fill=fill)

    def bar(self, x: float, y: float, angle: float, length: float, width: float, fill: Colour) -> None:
        """A stick with round ends."""
        dx, dy = 0.5 * length * math.cos(angle), 0.5 * length * math.sin(angle)
        ends = (MIDDLE + x - dx, MIDDLE + y - dy, MIDDLE + x + dx, MIDDLE + y + dy)
        self.pen.line(ends, fill=fill, width=max(1, int(width)))
        for way in (-1, 1):
            self.disc(x + way * dx, y + way * dy, 0.48 * width, fill)

    def block(self, x: float, y: float, angle: float, length: float, width: float, fill: Colour) -> None:
        """A rectangle."""
        corners = [turned(angle, u * length / 2, v * width / 2) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        self.pen.polygon([(MIDDLE + x + u, MIDDLE + y + v) for u, v in corners], fill=fill)

    def strew(self, count: int, reach: float, sizes: Point, colours: Colours, rough=0.2, at: Point = (0, 0)) -> None:
        """Lumps of these colours and sizes, at most `reach` pixels from a place."""
        for angle, way in zip(self.rng.uniform(0, 2 * math.pi, count), self.rng.uniform(0, 1, count), strict=True):
            u, v = turned(angle, reach * way**0.5, 0)
            self.lump(at[0] + u, at[1] + v, self.rng.uniform(*sizes), self.pick(colours), rough)


def turned(angle: float, u: float, v: float) -> Point:
    """The point (u, v) turned by an angle about the middle."""
    c, s = math.cos(angle), math.sin(angle)
    return u * c - v * s, u * s + v * c


def _pizza(cook: _Cook) -> None:
    crust, rng = cook.pick(DOUGHS), cook.rng
    for r, fill in ((41, shade(crust, 0.7)), (39, crust), (34, cook.pick(((205, 70, 35),)))):
        cook.lump(0, 0, r, fill, 0.02)
    cook.strew(14, 27, (5, 10), ((245, 215, 130), (250, 230, 170)))
    for _ in range(2):
        cook.strew(rng.integers(4, 9), 29, (3.5, 6), (cook.pick(TOPPINGS),), 0.05)
    for k in range(rng.integers(0, 5)):
        cook.bar(0, 0, k * math.pi / 4, 78, 1.5, shade(crust, 0.55))


def _hamburger(cook: _Cook) -> None:
    bun, rng = cook.pick(DOUGHS), cook.rng
    wide, y = rng.uniform(32, 40), 18
    cook.pen.rounded_rectangle((MIDDLE - wide, MIDDLE + y, MIDDLE + wide, MIDDLE + y + 13), 6, fill=shade(bun, 0.85))
    parts = [((85, 45, 28), 10), ((245, 190, 50), 4), ((195, 45, 35), 6), ((95, 160, 55), 6), ((85, 45, 28), 9)]
    for k in rng.permutation(5)[: rng.integers(4, 6)]:
        tone, thick = parts[k]
        cook.bar(0, y - thick / 2, 0, 2 * wide + rng.uniform(-6, 4), thick + 2, cook.pick((tone,)))
        y -= thick - 1
    cook.pen.pieslice((MIDDLE - wide, MIDDLE + y - 27, MIDDLE + wide, MIDDLE + y + 29), 180, 360, fill=bun)
    cook.disc(-0.2 * wide, y - 14, 0.5 * wide, shade(bun, 1.12), 0.4)
    cook.strew(9, 9, (1.2, 1.8), ((245, 225, 180),), at=(0, y - 12))


def _sushi(cook: _Cook) -> None:
    rng = cook.rng
    turn, rolls, rows = rng.uniform(0, 6.3), rng.random() < 0.55, int(rng.integers(2, 4))
    pitch, fish = 78 / rows, cook.pick(((240, 120, 70), (205, 50, 50), (245, 170, 130)))
    for k in range(rows * rows):
        x, y = turned(turn, *((way - (rows - 1) / 2) * pitch + rng.normal(0, 1) for way in divmod(k, rows)))
        r = 0.44 * pitch
        if rolls:
            cook.disc(x, y, r, (22, 35, 25))
            cook.lump(x, y, 0.8 * r, (245, 243, 235), 0.04)
            cook.disc(x, y, 0.4 * r, fish)
        else:
            for lift, length, width, fill in ((2, 0.6, 1.0, (243, 240, 232)), (-2, 0.66, 0.8, fish)):
                cook.bar(x, y + lift, turn + 0.6, length * pitch, width * r, shade(fill, rng.uniform(0.9, 1.05)))


def _salad(cook: _Cook) -> None:
    for _ in range(3):
        cook.strew(12, 33, (5, 11), GREENS, 0.3)
        cook.strew(8, 33, (1.5, 3), ((170, 205, 110), (60, 100, 40)), 0.4)
    cook.strew(cook.rng.integers(4, 13), 29, (3.5, 6.5), TOPPINGS, 0.1)


def _donuts(cook: _Cook) -> None:
    rng, many = cook.rng, cook.rng.random() < 0.4
    for x, y in ((-21, -20), (21, -18), (-18, 22), (21, 21)) if many else ((0, 0),):
        r, dough = (20 if many else 39), cook.pick(DOUGHS)
        cook.disc(x, y, r, shade(dough, 0.75))
        cook.disc(x, y, 0.95 * r, dough)
        cook.lump(x, y, 0.86 * r, cook.pick(SWEETS), 0.03)
        for k in range(rng.integers(0, 20)):
            u, v = turned(2.4 * k, r * rng.uniform(0.5, 0.78), 0)
            cook.bar(x + u, y + v, 5 * k, 3, 2, cook.pick(SWEETS))
        cook.disc(x, y, 0.34 * r, shade(dough, 0.9))
        cook.disc(x, y, 0.26 * r, cook.pick(((90, 70, 55), (215, 210, 205))))


def _fries(cook: _Cook) -> None:
    rng, boxed = cook.rng, cook.rng.random() < 0.5
    for _ in range(26):
        angle = rng.normal(-math.pi / 2, 0.22) if boxed else rng.uniform(0, math.pi)
        x, y = rng.uniform((-22, -20), (22, -2)) if boxed else rng.normal(0, 11, 2)
        tone = cook.pick(((240, 195, 80), (225, 170, 60), (250, 215, 120)))
        cook.block(x, y + 1.5, angle, 42, 7, shade(tone, 0.6))
        cook.block(x, y, angle, 42, 5, tone)
    if boxed:
        box = cook.pick(((200, 30, 35), (240, 240, 235), (60, 90, 150), (190, 150, 100)))
        cook.pen.polygon([(20, 45), (48, 55), (76, 45), (70, 92), (26, 92)], fill=box)


def _spaghetti(cook: _Cook) -> None:
    rng = cook.rng
    cook.lump(0, 0, 34, (205, 160, 80), 0.04)
    for x, y in MIDDLE + rng.normal(0, 13, (34, 2)):
        r, start = rng.uniform(7, 16), rng.uniform(0, 360)
        strand = cook.pick(((240, 205, 120), (225, 180, 95), (195, 145, 70)))
        cook.pen.arc((x - r, y - r, x + r, y + r), start, start + rng.uniform(120, 300), fill=strand, width=3)
    cook.strew(15, rng.uniform(8, 16), (4, 8), (cook.pick(((165, 45, 25), (190, 60, 30), (130, 50, 30))),))
    cook.strew(rng.integers(0, 3), 6, (4, 5), GREENS, 0.35)


def _pancakes(cook: _Cook) -> None:
    rng, wide, flat = cook.rng, cook.rng.uniform(31, 38), cook.rng.uniform(0.38, 0.6)
    top = 22 - 8 * int(rng.integers(3, 7))
    for y in range(22, top, -8):
        x, tone = rng.normal(0, 1.5), cook.pick(DOUGHS, 0.08)
        for lift, part, fill in ((4, 1.0, (245, 215, 150)), (0, 1.0, shade(tone, 0.8)), (0, 0.92, tone)):
            cook.disc(x, y + lift, part * wide, fill, flat)
    cook.lump(0, y, 0.55 * wide * flat, cook.pick(SAUCES), 0.2)
    cook.bar(14, y + 12, 1.4, 24, 5, (140, 70, 22))
    cook.block(0, y - 3, 0.2, 13, 10, cook.pick(((250, 225, 120), (190, 30, 45), (60, 50, 120))))


def _waffles(cook: _Cook) -> None:
    rng, dough, turn = cook.rng, cook.pick(DOUGHS), cook.rng.uniform(0, math.pi / 2)
    disc, pitch = rng.random() < 0.5, rng.uniform(12, 15)
    cook.disc(0, 0, 40, dough) if disc else cook.block(0, 0, turn, 68, 66, dough)
    for k in range(49):
        u, v = ((way - 3) * pitch for way in divmod(k, 7))
        if (math.hypot(u, v) < 34) if disc else (max(abs(u), abs(v)) < 28):
            cook.block(*turned(turn, u, v), turn, 0.66 * pitch, 0.66 * pitch, shade(dough, 0.55))
    cook.strew(rng.integers(0, 4), 15, (6, 9), SWEETS, 0.12)


def _hot_dog(cook: _Cook) -> None:
    rng, bun, turn = cook.rng, cook.pick(DOUGHS), cook.rng.uniform(0, 6.3)
    cook.bar(0, 0, turn, 48, 41, shade(bun, 0.7))
    for way in (-1, 1):
        cook.bar(*turned(turn, 0, 10 * way), turn, 48, 18, shade(bun, 1 - 0.06 * way))
    cook.bar(0, 0, turn, 62, 17, cook.pick(((160, 55, 35), (190, 85, 55), (125, 50, 30))))
    wave = [turned(turn, u, 5 * math.sin(u / 3)) for u in range(-27, 28, 2)]
    cook.pen.line([(MIDDLE + x, MIDDLE + y) for x, y in wave], fill=cook.pick(SAUCES), width=4)
    cook.strew(rng.integers(0, 6), 20, (2, 4), GREENS, 0.3)


def _ramen(cook: _Cook) -> None:
    turn = cook.rng.uniform(0, 6.3)
    cook.disc(0, 0, 43, cook.pick(((30, 28, 32), (235, 232, 225), (160, 35, 30), (60, 80, 120))))
    cook.disc(0, 0, 37, cook.pick(((190, 125, 60), (165, 90, 40), (215, 170, 110))))
    for r in range(10, 32, 2):
        box = (MIDDLE - r - 8, MIDDLE - r + 8, MIDDLE + r - 8, MIDDLE + r + 8)
        cook.pen.arc(box, 80, 230, fill=cook.pick(((240, 210, 130), (225, 190, 110))), width=2)
    egg, pork, leek, weed = (turned(turn + angle, 19, 0) for angle in (0, 1.6, 3.1, 4.7))
    cook.disc(*egg, 10, (250, 245, 235), 0.85)
    cook.disc(*egg, 5.5, (245, 165, 30))
    cook.lump(*pork, 11, cook.pick(((190, 135, 105), (160, 100, 75))), 0.08)
    cook.block(*weed, turn, 20, 15, (25, 40, 30))
    cook.strew(9, 10, (2, 3), GREENS, at=leek)


def _ice_cream(cook: _Cook) -> None:
    rng, cone, scoops = cook.rng, cook.rng.random() < 0.5, ((0, -8), (0, -27))
    if cone:
        cook.pen.polygon([(26, 46), (70, 46), (48, 95)], fill=(205, 150, 80))
        for k in range(-3, 4):
            cook.bar(6 * k, 14, math.pi / 2 + 0.5 * (-1) ** k, 24, 1, (160, 105, 50))
        scoops = scoops[: rng.integers(1, 3)]
    else:
        bowl = cook.pick(((200, 215, 225), (245, 245, 245), (120, 150, 170)))
        cook.pen.pieslice((10, 10, 86, 84), 0, 180, fill=bowl)
        cook.pen.polygon([(44, 80), (52, 80), (62, 92), (34, 92)], fill=shade(bowl, 0.85))
        scoops = scoops if rng.random() < 0.5 else ((-14, -6), (14, -6), (0, -24))
    for x, y in scoops:
        tone, r = cook.pick(SWEETS), 23 if len(scoops) < 3 else 17
        for way, part, lit in ((3, 1.0, 0.75), (0, 0.95, 1.0), (-7, 0.4, 1.12)):
            cook.lump(x + min(way, 0), y + way, part * r, shade(tone, lit), 0.04)


DISHES = {
    "pizza": _pizza, "hamburger": _hamburger, "sushi": _sushi, "green salad": _salad, "donuts": _donuts,
    "french fries": _fries, "spaghetti": _spaghetti, "pancakes": _pancakes, "waffles": _waffles, "hot dog": _hot_dog,
    "ramen": _ramen, "ice cream": _ice_cream,
}  # fmt: skip
CLASSES = tuple(DISHES)
UPRIGHT = ("hamburger", "pancakes", "ice cream", "french fries")  # seen from the side: never turned upside down


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """The dish on a plate, a board or the bare table.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the table and for the dish's grain.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np
    from PIL import Image

    upright = CLASSES[label] in UPRIGHT
    image = crop("coffee", split, rng, CANVAS) if rng.random() < 0.5 else backdrop(split, rng, CANVAS)
    cloth = shade((120, 85, 60), rng.uniform(0.3, 1.7)) if rng.random() < 0.6 else any_colour(rng)[1]
    image = Image.blend(image, Image.new("RGB", image.size, cloth), rng.uniform(0.3, 0.8))
    ground = _lay(image, rng)
    dish = layer()
    DISHES[CLASSES[label]](_Cook(dish, rng))
    rough = crop(("gravel", "brick", "coffee")[rng.integers(3)], split, rng, CANVAS)
    grain = np.asarray(rough.convert("L"), np.float32)
    grain = 1 + rng.uniform(0.1, 0.35) * (grain - grain.mean()) / (grain.std() + 20)
    pixels = np.array(dish)
    pixels[:, :, :3] = np.clip(pixels[:, :, :3] * grain[:, :, None], 0, 255)
    turn = rng.normal(0, 7) if upright else rng.uniform(0, 360)
    dish = Image.fromarray(pixels).rotate(turn, Image.Resampling.BILINEAR)
    if not upright:  # aslant, the far side is foreshortened
        flat = int(CANVAS * rng.uniform(0.65, 1.0))
        squeezed, dish = dish.resize((CANVAS, flat)), layer()
        dish.paste(squeezed, (0, (CANVAS - flat) // 2))
    dish = tilt(dish, rng, 0.05, (0.8, 1.2), 0.07)
    image.paste(dish, (0, 0), dish)
    return finish(image, rng, blur=0.8, light=0.28, cast=0.12, noise=6), {"ground": ground}


def _lay(image: "Image.Image", rng: "np.random.Generator") -> str:
    """Draws what the dish lies on and names it."""
    cook, kind = _Cook(image, rng), rng.random()
    if kind < 0.55:
        china = colour("white", rng) if rng.random() < 0.7 else any_colour(rng)[1]
        r, flat, (x, y) = rng.uniform(42, 52), rng.uniform(0.8, 1.0), rng.normal(0, 3, 2)
        for part, lit in ((1.0, 0.82), (0.96, 1.0), (0.74, 0.92)):
            cook.disc(x, y, part * r, shade(china, lit), flat)
        return "a plate"
    if kind < 0.75:
        board, turn = shade((190, 140, 90), rng.uniform(0.5, 1.15)), rng.normal(0, 0.15)
        cook.block(0, 0, turn, *rng.uniform(75, 110, 2), board)
        for v in rng.uniform(-36, 36, 6):
            cook.block(*turned(turn, 0, v), turn, 74, 2, shade(board, 0.88))
        return "a board"
    return "a table"


TASK = Entry(
    name="food",
    title="Food",
    stands_for="food101",
    classes=CLASSES,
    templates=("a photo of {}, a type of food.", "a photo of {} on a table.", "a plate of {}."),
    draw=draw,
    source=f"{PHOTOGRAPHS}; scikit-image (brick, gravel)",
    licence=PHOTOGRAPH_TERMS,
    real="the tables and the grain of every dish",
    drawn="the dishes, plates and boards",
    generic=("food", "dish", "meal"),
    named=("{}", "plate of {}", "dish of {}"),
)
