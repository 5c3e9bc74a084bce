"""What the pair is pre-trained on beyond the tasks: shapes and letters of other kinds, on the same backgrounds."""

import math
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, FONTS, any_colour, contrast, finish, layer, tilt, write
from mergebench.tasks.tiny.drawing.sources import backdrop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "pentagon", "hexagon", "cross", "ring", "arrow", "crescent")
LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
GREEK = {"gamma": "\u0393", "delta": "\u0394", "theta": "\u0398", "lambda": "\u039b", "pi": "\u03a0", "sigma": "\u03a3",
         "phi": "\u03a6", "psi": "\u03a8", "omega": "\u03a9", "xi": "\u039e"}  # fmt: skip
GLYPHS = {f"letter {c.lower()}": c for c in LATIN} | {f"greek {name}": c for name, c in GREEK.items()}
GREEK_FONTS = tuple(name for name in FONTS if name.startswith("DejaVu"))


def draw_shape(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A plain shape in a named colour over a photograph."""
    ink_name, ink = any_colour(rng)
    shape = layer()
    _outline(shape, SHAPES[label], ink)
    shape = tilt(shape, rng, 0.1, (0.4, 1.0), 0.18).rotate(rng.normal(0, 15))
    image = backdrop(split, rng, CANVAS)
    image.paste(shape, (0, 0), shape)
    return finish(image, rng), {"colour": ink_name}


def draw_glyph(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A letter in a named colour over a tinted photograph, sometimes white on black like a scan."""
    from PIL import Image

    ground_name, ground = any_colour(rng)
    ink_name, ink = any_colour(rng)
    while contrast(ground, ink) < 70:
        ink_name, ink = any_colour(rng)
    plain = rng.random() < 0.3
    if plain:
        ground_name, ground, ink_name, ink = "black", (0, 0, 0), "white", (255, 255, 255)
    image = Image.blend(
        backdrop(split, rng, CANVAS),
        Image.new("RGB", (CANVAS, CANVAS), ground),
        1.0 if plain else rng.uniform(0.4, 0.95),
    )
    glyph = tuple(GLYPHS.values())[label]
    fonts = FONTS if glyph in LATIN else GREEK_FONTS
    text = layer()
    write(text, glyph, (CANVAS / 2, CANVAS / 2), fonts[rng.integers(len(fonts))], int(0.8 * CANVAS), ink)
    text = tilt(text, rng, 0.1, (0.6, 1.1), 0.1)
    image.paste(text, (0, 0), text)
    return finish(image, rng), {"colour": ink_name, "background": ground_name}


def _outline(image: "np.ndarray", name: str, ink: tuple[int, int, int]) -> None:
    """Draws a shape in the middle of the layer."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    c, r = CANVAS / 2, 0.4 * CANVAS

    def polygon(radii: list[float]) -> None:
        step = 2 * math.pi / len(radii)
        pen.polygon(
            [(c + r * q * math.sin(k * step), c - r * q * math.cos(k * step)) for k, q in enumerate(radii)], fill=ink
        )

    if name in ("circle", "ring", "crescent"):
        pen.ellipse((c - r, c - r, c + r, c + r), fill=ink)
        if name != "circle":
            shift = 0 if name == "ring" else 0.5 * r
            pen.ellipse((c - 0.6 * r + shift, c - 0.6 * r, c + 0.6 * r + shift, c + 0.6 * r), fill=(0, 0, 0, 0))
    elif name == "cross":
        pen.rectangle((c - 0.3 * r, c - r, c + 0.3 * r, c + r), fill=ink)
        pen.rectangle((c - r, c - 0.3 * r, c + r, c + 0.3 * r), fill=ink)
    elif name == "arrow":
        shaft, barb, neck = 0.25 * r, 0.7 * r, c + 0.1 * r
        upper = [(c - r, c - shaft), (neck, c - shaft), (neck, c - barb)]
        pen.polygon([*upper, (c + r, c), *((x, 2 * c - y) for x, y in reversed(upper))], fill=ink)
    elif name == "star":
        polygon([1.0, 0.42] * 5)
    else:
        polygon([1.0] * {"square": 4, "triangle": 3, "pentagon": 5, "hexagon": 6}[name])


EXTRAS = (
    Entry(
        name="shapes",
        title="Shapes",
        stands_for="",
        classes=SHAPES,
        templates=("a {}.",),
        draw=draw_shape,
        source=PHOTOGRAPHS,
        licence=PHOTOGRAPH_TERMS,
        real="the backgrounds",
        drawn="the shapes",
        generic=("shape", "figure", "mark"),
        weight=0.5,
    ),
    Entry(
        name="glyphs",
        title="Printed letters",
        stands_for="",
        classes=tuple(GLYPHS),
        templates=("the {}.",),
        draw=draw_glyph,
        source=f"fonts of matplotlib (DejaVu, STIX, Computer Modern); {PHOTOGRAPHS}",
        licence=f"fonts: LICENSE_DEJAVU, LICENSE_STIX; none stated for Computer Modern; {PHOTOGRAPH_TERMS}",
        real="the fonts and the backgrounds",
        drawn="the composition",
        generic=("letter", "character", "glyph"),
    ),
)
