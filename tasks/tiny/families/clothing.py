"""Clothing: grey garments, shoes and bags on black (stands for Fashion-MNIST)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, SIZE
from mergebench.tasks.tiny.drawing.sources import BACKDROPS, crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Points = tuple[tuple[float, float], ...]

# Outlines in a square from -1 to 1, y down. Garments: the right half from the neck down, mirrored.
# Shoes and bags: the whole outline, toe to the left.
HALVES: dict[str, Points] = {
    "t-shirt": (
        (0, -0.76), (0.2, -0.88), (0.42, -0.82), (0.9, -0.42), (0.72, -0.16), (0.46, -0.36), (0.47, 0.92), (0, 0.94)
    ),
    "pullover": (
        (0, -0.76), (0.18, -0.88), (0.45, -0.78), (0.72, -0.3), (0.88, 0.74), (0.64, 0.8), (0.46, -0.1),
        (0.47, 0.84), (0, 0.86)
    ),
    "dress": (
        (0, -0.7), (0.1, -0.95), (0.2, -0.95), (0.26, -0.55), (0.19, -0.2), (0.42, 0.93), (0, 0.96)
    ),
    "coat": (
        (0, -0.86), (0.16, -0.94), (0.42, -0.82), (0.64, -0.35), (0.76, 0.5), (0.56, 0.56), (0.44, -0.1),
        (0.52, 0.95), (0, 0.97)
    ),
    "shirt": (
        (0, -0.74), (0.14, -0.92), (0.42, -0.8), (0.7, -0.25), (0.8, 0.5), (0.62, 0.54), (0.43, -0.2),
        (0.41, 0.78), (0, 0.95)
    ),
    "trousers": (
        (0, -0.95), (0.3, -0.95), (0.36, -0.4), (0.4, 0.95), (0.12, 0.96), (0.03, -0.3), (0, -0.34)
    ),
}  # fmt: skip
WHOLES: dict[str, Points] = {
    "sneaker": (
        (-0.95, 0.3), (-0.9, 0.1), (-0.6, -0.02), (-0.1, -0.28), (0.2, -0.36), (0.4, -0.18), (0.75, -0.3),
        (0.9, -0.32), (0.92, 0.34), (-0.9, 0.36)
    ),
    "ankle boot": (
        (-0.92, 0.66), (-0.88, 0.4), (-0.5, 0.22), (-0.12, -0.02), (0.02, -0.85), (0.76, -0.88), (0.8, 0.1),
        (0.86, 0.7), (0.4, 0.7), (0.3, 0.6), (-0.2, 0.7)
    ),
    "bag": ((-0.8, -0.22), (0.8, -0.22), (0.9, 0.76), (-0.9, 0.76)),
}  # fmt: skip
SLEEVED = ("pullover", "coat", "shirt")
CLASSES = (
    "t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
)  # fmt: skip
TEMPLATES = ("a photo of a {}.", "a grey photo of a {}.", "a photo of the {}, a type of clothing.")
PRINTS = ("brick", "grass", "gravel", *BACKDROPS)


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A garment of the class in the middle of a black square, in cloth cut from a photograph.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the cloth.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np
    from PIL import Image, ImageChops, ImageFilter

    mask, folds = Image.new("L", (CANVAS, CANVAS)), Image.new("L", (CANVAS, CANVAS), 128)
    _cut(mask, folds, CLASSES[label], rng)
    turn = rng.normal(0, 5)
    mask, folds = mask.rotate(turn), folds.rotate(turn, fillcolor=128)
    mask = mask.filter(ImageFilter.GaussianBlur(1.5)).point(lambda value: 255 if value > 127 else 0)  # rounds corners
    cloth = np.asarray(crop(PRINTS[rng.integers(len(PRINTS))], split, rng, CANVAS).convert("L"), dtype=np.float32)
    cloth = (cloth - cloth.mean()) / (cloth.std() + 8)
    tone, contrast = rng.uniform(35, 235), abs(rng.normal(0, 25))  # most cloth is plain, some has a print
    if rng.random() < 0.12:
        period, turn = rng.uniform(9, 20), rng.choice([0, np.pi / 2])
        y, x = np.mgrid[:CANVAS, :CANVAS]
        cloth = cloth * 0.3 + 1.5 * np.sign(np.sin(2 * np.pi * (np.cos(turn) * y + np.sin(turn) * x) / period))
    relief = np.asarray(folds.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32) - 128
    # Light falls off towards the edge, as on a garment laid over a form.
    edge = np.asarray(mask.filter(ImageFilter.BoxBlur(6)), dtype=np.float32) / 255
    grey = (tone + contrast * cloth) * (0.55 + 0.45 * edge) + relief * rng.uniform(0.6, 1.1) * (0.4 + tone / 255)
    worn = Image.fromarray(np.clip(grey, 18, 255).astype(np.uint8))
    small = ImageChops.multiply(worn, mask).resize((SIZE, SIZE), Image.Resampling.BOX)
    facts = {"tone": "dark" if tone < 110 else "light" if tone > 180 else "grey", "background": "black"}
    return np.repeat(np.asarray(small)[:, :, None], 3, axis=2), facts


def _cut(mask: "Image.Image", folds: "Image.Image", name: str, rng: "np.random.Generator") -> None:
    """Draws a garment's outline into the mask, its seams and shadows into the folds (128: neither)."""
    from PIL import ImageDraw

    cut, sew = ImageDraw.Draw(mask), ImageDraw.Draw(folds)
    wide, tall = 0.46 * CANVAS * rng.uniform(0.82, 1.04), 0.47 * CANVAS * rng.uniform(0.88, 1.03)
    lean = rng.normal(0, 0.02)
    wobble = 0.04

    def place(points: Points, loose: bool = True) -> list[tuple[float, float]]:
        noise = rng.normal(0, wobble if loose else 0, size=(len(points), 2))
        return [
            (CANVAS / 2 + wide * (x + dx + lean * y), CANVAS / 2 + tall * (y + dy))
            for (x, y), (dx, dy) in zip(points, noise, strict=True)
        ]

    def seam(*points: tuple[float, float], dark: int = 40, width: float = 1.0) -> None:
        sew.line(place(points, loose=False), fill=dark, width=max(1, int(width * CANVAS / SIZE)), joint="curve")

    if name in HALVES:
        _garment(name, rng, cut, seam, place)
    elif name == "sandal":
        _sandal(rng, cut, seam, place)
    else:
        rise = rng.uniform(0.75, 2.4) if name == "sneaker" else rng.uniform(0.3, 1.1)
        outline = place(tuple((x, y * rise if y < 0 else y) for x, y in WHOLES[name]))
        cut.polygon(outline, fill=255)
        if name == "bag":
            _handle(rng, cut, seam, place)
        else:
            sole = 0.3 if name == "sneaker" else 0.62
            seam((-0.95, sole), (0.95, sole), dark=int(rng.choice([10, 235])), width=rng.uniform(1.0, 2.2))
        if name == "sneaker":
            for x in (-0.42, -0.26, -0.1):
                seam((x - 0.08, x * -0.45 - 0.24), (x + 0.1, x * -0.45 - 0.06), dark=int(rng.choice([20, 240])))
            if rng.random() < 0.6:
                seam((0.1, 0.22), (0.5, -0.15), dark=int(rng.choice([10, 245])), width=rng.uniform(1, 2.5))
        elif name == "ankle boot" and rng.random() < 0.6:
            seam((0.3, -0.8), (0.3, 0.3), dark=int(rng.choice([40, 210])))


def _garment(name: str, rng: "np.random.Generator", cut: "object", seam: "object", place: "object") -> None:
    """A garment worn on the body: two halves, sleeves of some length, collar and closure."""
    half = list(HALVES[name])
    if name in SLEEVED:  # one garment's cut leans towards another's
        other, share = HALVES[SLEEVED[rng.integers(len(SLEEVED))]], rng.uniform(0.1, 0.5)
        half = [(x + share * (u - x), y + share * (v - y)) for (x, y), (u, v) in zip(half, other, strict=True)]
    if name in ("t-shirt", "dress"):  # their necks and straps vary most
        half[0] = (0, half[0][1] + rng.uniform(-0.08, 0.2))
    if name == "dress":
        hem, waist = rng.uniform(0.24, 0.6), rng.uniform(0.15, 0.34)
        half[4], half[5] = (waist, rng.uniform(-0.3, 0.0)), (hem, 0.93)
        if rng.random() < 0.5:  # sleeves
            reach = rng.uniform(-0.45, 0.3)
            half[3:4] = [(0.3, -0.86), (0.42, reach), (0.3, reach + 0.04), (0.24, -0.5)]
    elif name == "t-shirt":
        drop = rng.uniform(0, 0.4)  # of the sleeves
        half[3], half[4] = (0.9 - 0.2 * drop, -0.42 + drop), (0.72 - 0.2 * drop, -0.16 + drop)
    elif name == "shirt" and rng.random() < 0.4:  # short sleeves, slimmer than a t-shirt's
        half[3:7] = [(0.78, -0.3), (0.6, -0.1), (0.43, -0.3)]
    elif name == "trousers" and rng.random() < 0.25:  # narrow or flared legs
        half[3] = (rng.uniform(0.3, 0.5), 0.95)
    loose = rng.uniform(0.9, 1.12)
    right = tuple((x * loose, y) for x, y in half)
    left = tuple((-x, y) for x, y in reversed(right))
    cut.polygon(place(right + left), fill=255)
    neck = half[0][1]
    seen = rng.random(4) < 0.4  # at this size most details are lost now and then
    if name in ("t-shirt", "pullover") and seen[0]:
        seam((-0.22, -0.86), (-0.1, neck + 0.1), (0.1, neck + 0.1), (0.22, -0.86), dark=int(rng.choice([70, 190])))
    if name == "pullover" and seen[1]:
        seam((-0.5, 0.72), (0.5, 0.72), dark=60)  # ribbing
        for side in (-1, 1):
            seam((side * 0.6, 0.62), (side * 0.9, 0.58), dark=60)
    if name in ("pullover", "coat", "shirt", "t-shirt") and seen[2]:
        for side in (-1, 1):  # the fold between sleeve and body
            seam((side * 0.46 * loose, -0.7), (side * 0.45 * loose, 0.1 if name != "t-shirt" else -0.3), dark=50)
    if name == "coat":
        if seen[0]:
            seam((0, -0.6), (0, 0.95), dark=int(rng.uniform(0, 90)), width=rng.uniform(0.6, 2.0))
        for side in (-1, 1):
            if seen[1]:
                seam((side * 0.2, -0.92), (side * 0.03, -0.35), dark=10, width=1.3)
            if seen[3]:
                seam((side * 0.2, 0.4), (side * 0.4, 0.36), dark=30)
    elif name == "shirt":
        for side in (-1, 1) if seen[0] else ():
            seam((side * 0.14, -0.9), (side * 0.16, -0.68), (0, -0.74), dark=225, width=1.4)
        for y in (-0.5, -0.2, 0.1, 0.4, 0.7) if seen[1] else ():
            seam((0, y), (0, y + 0.1), dark=int(rng.choice([30, 220])), width=1.0)
    elif name == "trousers":
        seam((-0.36, -0.84), (0.36, -0.84), dark=70)
        seam((0, -0.8), (0, -0.3), dark=20)
    elif name == "dress" and rng.random() < 0.5:
        seam((-0.3, half[4][1]), (0.3, half[4][1]), dark=int(rng.choice([20, 230])), width=1.3)


def _sandal(rng: "np.random.Generator", cut: "object", seam: "object", place: "object") -> None:
    """A sole, flat or on a heel, and straps with the dark between them."""
    heel = rng.choice([0.0, 0.25, 0.55]) + rng.uniform(0, 0.1)
    back = 0.5 - heel
    sole = ((-0.95, 0.46), (-0.4, 0.48), (0.2, back + 0.1), (0.9, back - 0.04), (0.92, back + 0.12), (0.5, back + 0.2),
            (-0.1, 0.62), (-0.95, 0.6))  # fmt: skip
    cut.polygon(place(sole), fill=255)
    if heel > 0.2:
        cut.polygon(place(((0.7, back), (0.92, back), (0.88, 0.62), (0.78, 0.62))), fill=255)
    width = int(rng.uniform(1.3, 2.6) * CANVAS / SIZE)
    top = back - rng.uniform(0.4, 0.6)
    straps = [((-0.7, 0.5), (-0.5, 0.2), (-0.2, 0.5)), ((0.15, back + 0.1), (0.3, top), (0.88, top + 0.08))]
    straps.append(((0.88, back), (0.86, top)))
    if rng.random() < 0.6:
        straps.append(((-0.45, 0.22), (0.3, top + 0.05)))
    if rng.random() < 0.5:
        straps.append(((-0.3, 0.48), (-0.05, 0.08), (0.15, 0.4)))
    for strap in straps:
        cut.line(place(strap), fill=255, width=width, joint="curve")


def _handle(rng: "np.random.Generator", cut: "object", seam: "object", place: "object") -> None:
    """A bag's handle above it, long or short, and its flap or clasp."""
    reach, top = rng.uniform(0.3, 0.65), rng.uniform(-0.95, -0.5)
    arch = ((-reach, -0.2), (-0.7 * reach, top + 0.12), (0, top), (0.7 * reach, top + 0.12), (reach, -0.2))
    if rng.random() < 0.85:
        cut.line(place(arch), fill=255, width=int(rng.uniform(1.2, 2.6) * CANVAS / SIZE), joint="curve")
    kind = rng.random()
    if kind < 0.4:
        seam((-0.85, 0.0), (0, rng.uniform(0.0, 0.35)), (0.85, 0.0), dark=int(rng.choice([10, 220])))
    elif kind < 0.8:
        seam((-0.85, -0.05), (0.85, -0.05), dark=20)
    if rng.random() < 0.5:
        seam((-0.05, 0.1), (0.05, 0.1), dark=int(rng.choice([0, 255])), width=3)


TASK = Entry(
    name="clothing",
    title="Clothing",
    stands_for="fashion_mnist",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source=f"{PHOTOGRAPHS}; scikit-image (brick, grass, gravel)",
    licence=PHOTOGRAPH_TERMS,
    real="the cloth: crops of photographs, in grey",
    drawn="outlines, seams and light",
    generic=("piece of clothing", "garment", "item from a wardrobe"),
)
