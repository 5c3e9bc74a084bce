"""Symbols: fifty pictorial characters in random colours over photographs (stands for CIFAR-100)."""

from functools import cache
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, any_colour, contrast, finish, font, layer, shade, tilt
from mergebench.tasks.tiny.drawing.sources import backdrop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from mergebench.tasks.tiny.drawing.draw import Colour

FACE = "DejaVuSans.ttf"  # the only one of matplotlib's fonts that has them all
BODY = 0.8 * CANVAS  # the inked box's longer side before the tilt
LEAST = 100  # least difference of ink and ground, in grey levels
DARK = 0.9  # share of symbols darker than their ground
STYLES = ("fringe", "patch", "plain")  # how a symbol is set off from its photograph

# name -> character
SYMBOLS = {
    # sky and weather
    "sun": "\u2600", "cloud": "\u2601", "umbrella": "\u2602", "snowman": "\u2603", "comet": "\u2604",
    "moon": "\u263e", "lightning": "\u26a1", "snowflake": "\u2744", "star": "\u2605", "hot spring": "\u2668",
    # things
    "telephone": "\u260e", "coffee cup": "\u2615", "anchor": "\u2693", "crossed swords": "\u2694", "scales": "\u2696",
    "gear": "\u2699", "hammer": "\u2692", "scissors": "\u2702", "plane": "\u2708", "envelope": "\u2709",
    "pencil": "\u270f", "keyboard": "\u2328", "flag": "\u2691", "dice": "\u2684", "urn": "\u26b1", "wheel": "\u2638",
    "house": "\u2302",
    # plants, hands, bodies
    "shamrock": "\u2618", "lily": "\u269c", "flower": "\u273f", "pointing hand": "\u261b", "skull": "\u2620",
    "wheelchair": "\u267f", "heart": "\u2665",
    # faces
    "smiling face": "\u263a", "angry face": "\U0001f620", "mouse": "\U0001f42d", "cow": "\U0001f42e",
    "cat": "\U0001f431", "monkey": "\U0001f435",
    # games, music, warnings
    "king": "\u265a", "rook": "\u265c", "knight": "\u265e", "pawn": "\u265f", "spade": "\u2660", "music": "\u266b",
    "radiation": "\u2622", "recycling": "\u267b", "peace": "\u262e", "yin yang": "\u262f",
}  # fmt: skip


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A symbol of the class, in any colour and seen at an angle, before a piece of photograph.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import Image

    ink_name, ink = any_colour(rng)
    ground_name, ground = any_colour(rng)
    while contrast(ink, ground) < LEAST:
        ground_name, ground = any_colour(rng)
    # Mostly dark on bright, as characters are: with either equally often, fifty classes are too much to learn.
    if (sum(ink) > sum(ground)) == (rng.random() < DARK):
        ink_name, ink, ground_name, ground = ground_name, ground, ink_name, ink
    style = STYLES[rng.integers(len(STYLES))]
    image = backdrop(split, rng, CANVAS)
    # Photographs lean towards the ground colour, more so where nothing else sets the symbol off.
    veil = rng.uniform(0.6, 0.9) if style == "plain" else rng.uniform(0.2, 0.6)
    image = Image.blend(image, Image.new("RGB", image.size, ground), veil)
    symbol = _symbol(tuple(SYMBOLS.values())[label], style, ink, ground, rng)
    symbol = tilt(symbol, rng, 0.05, (0.88, 1.08), 0.03).rotate(rng.normal(0, 3.5), Image.Resampling.BILINEAR)
    image.paste(symbol, (0, 0), symbol)
    return finish(image, rng, blur=0.4, light=0.25, cast=0.1), {"colour": ink_name, "background": ground_name}


def _symbol(character: str, style: str, ink: "Colour", ground: "Colour", rng: "np.random.Generator") -> "Image.Image":
    """The character in the middle of a layer, shaded from top to bottom, on what sets it off."""
    from PIL import Image, ImageDraw

    mask = _glyph(character, 1 + int(rng.integers(2)))
    image = layer()
    pen = ImageDraw.Draw(image)
    if style == "patch":
        edge = rng.uniform(0.04, 0.1) * CANVAS
        box = (edge, edge, CANVAS - edge, CANVAS - edge)
        round_off = (0.12 if rng.random() < 0.5 else 0.48) * CANVAS
        pen.rounded_rectangle(box, round_off, fill=(*ground, 255), outline=(*shade(ground, 0.7), 255), width=2)
    elif style == "fringe":
        image.paste(Image.new("RGBA", image.size, (*ground, 255)), (0, 0), _glyph(character, 6))
    ramp = Image.linear_gradient("L").resize(image.size)
    if rng.random() < 0.5:
        ramp = ramp.transpose(Image.Transpose.ROTATE_90)
    change = rng.uniform(0.65, 1.0)
    light, dark = (Image.new("RGBA", image.size, (*c, 255)) for c in (ink, shade(ink, change)))
    image.paste(Image.composite(dark, light, ramp), (0, 0), mask)
    return image


@cache
def _glyph(character: str, stroke: int) -> "Image.Image":
    """The character as a mask, its inked box scaled to `BODY`; wider strokes keep thin lines visible."""
    from PIL import Image, ImageDraw

    face = font(FACE, CANVAS)
    left, top, right, bottom = face.getbbox(character)
    face = font(FACE, int(CANVAS * BODY / max(right - left, bottom - top)))
    left, top, right, bottom = face.getbbox(character)
    at = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    mask = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(mask).text(at, character, font=face, fill=255, stroke_width=stroke)
    return mask


TASK = Entry(
    name="symbols",
    title="Symbols",
    stands_for="cifar100",
    classes=tuple(SYMBOLS),
    templates=("a photo of a {}.", "a symbol of a {}.", "a {} symbol."),
    draw=draw,
    source=f"{PHOTOGRAPHS}; DejaVu Sans from matplotlib",
    licence=f"{PHOTOGRAPH_TERMS}; font: LICENSE_DEJAVU",
    real="glyphs, backgrounds",
    drawn="colours, light, perspective",
    generic=("symbol", "pictogram", "icon"),
    named=("{}", "{} symbol", "{} icon"),
    weight=2.5,
)
