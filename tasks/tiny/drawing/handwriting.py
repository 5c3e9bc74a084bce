"""From a font's glyph to something that looks written by hand: pen strokes, slant, elastic bending, uneven width."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import SIZE, font

if TYPE_CHECKING:
    import numpy as np

GRID = 2 * SIZE  # glyphs are bent at twice the final size
FINE = 2 * GRID  # and thinned to strokes at twice that
BOX = 0.68 * FINE  # longer side of a glyph before it is bent


@dataclass(frozen=True)
class Hand:
    """How freely a hand writes.

    Args:
        bend: standard deviation of the elastic displacement, in final pixels.
        slant: standard deviation of the shear.
        turn: standard deviation of the rotation, in radians.
        pen: range of the stroke's width, in final pixels.
        brush: how much the width changes along the stroke, 0 for a ball pen.
        printed: share of the glyphs that keep the strokes of their font.
    """

    bend: float = 1.0
    slant: float = 0.15
    turn: float = 0.1
    pen: tuple[float, float] = (2.0, 3.8)
    brush: float = 0.1
    printed: float = 0.2


def handwritten(glyph: str, file: str, hand: Hand, rng: "np.random.Generator") -> "np.ndarray":
    """A glyph of a font, written by a hand in white on black.

    Args:
        glyph: the character.
        file: which of matplotlib's fonts.
        hand: how freely.
        rng: the image's own random generator.

    Returns:
        uint8 [32, 32, 3].
    """
    import numpy as np
    from PIL import Image, ImageFilter

    printed = rng.random() < hand.printed
    ink = Image.fromarray(bent(_strokes(glyph, file, printed), hand, rng))
    spread = 1.2 if printed else 2.0
    blurred = np.asarray(ink.filter(ImageFilter.GaussianBlur(spread)), dtype=np.float32) / 255
    # Where a blurred line falls to the threshold is where the stroke ends: a low one makes a thick pen.
    if printed:
        threshold = rng.uniform(0.25, 0.6)
    else:
        half = rng.uniform(*hand.pen)  # half the width on this grid is the width on the final one
        threshold = 0.5 * np.exp(-0.5 * (half / 2.3) ** 2)
    uneven = threshold * np.exp(hand.brush * smooth_field(rng, 4))
    soft = np.minimum(rng.uniform(0.08, 0.2), 1.6 * uneven)  # narrow for thick pens: the ground stays black
    sharp = np.clip((blurred - uneven) / soft + 0.5, 0, 1)
    small = sharp.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
    white = np.clip(small * rng.uniform(0.9, 1.2), 0, 1) * 255
    return np.repeat(white.astype(np.uint8)[:, :, None], 3, axis=2)


def smooth_field(rng: "np.random.Generator", cells: int) -> "np.ndarray":
    """Smooth noise float32 [64, 64] of about unit variance, with `cells` independent values a side."""
    import numpy as np
    from PIL import Image

    coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((GRID, GRID), Image.Resampling.BICUBIC))


def bent(strokes: "np.ndarray", hand: Hand, rng: "np.random.Generator") -> "np.ndarray":
    """Turns, slants, stretches and bends a uint8 [64, 64] picture."""
    import numpy as np

    y, x = np.mgrid[:GRID, :GRID].astype(np.float32) - (GRID - 1) / 2
    turn, slant = rng.normal(0, hand.turn), rng.normal(0, hand.slant)
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    size = rng.uniform(0.9, 1.2)
    x, y = (x + slant * y) / (size * rng.uniform(0.8, 1.15)), y / (size * rng.uniform(0.9, 1.08))
    bend = 2 * hand.bend  # this grid has two pixels to a final one
    x = x + bend * (smooth_field(rng, 4) + 0.35 * smooth_field(rng, 8)) + rng.normal(0, 1.5)
    y = y + bend * (smooth_field(rng, 4) + 0.35 * smooth_field(rng, 8)) + rng.normal(0, 1.5)
    x, y = (np.clip(axis + (GRID - 1) / 2, 0, GRID - 1.001) for axis in (x, y))
    left, top = x.astype(np.intp), y.astype(np.intp)
    x, y = x - left, y - top
    pixels = strokes.astype(np.float32)
    upper = pixels[top, left] * (1 - x) + pixels[top, left + 1] * x
    lower = pixels[top + 1, left] * (1 - x) + pixels[top + 1, left + 1] * x
    return (upper * (1 - y) + lower * y).astype(np.uint8)


@cache
def _strokes(glyph: str, file: str, printed: bool) -> "np.ndarray":
    """The glyph in the middle of a uint8 [64, 64]: as its font draws it, or as lines of one width."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter

    probe = font(file, 100).getbbox(glyph)
    face = font(file, int(100 * BOX / max(probe[2] - probe[0], probe[3] - probe[1])))
    left, top, right, bottom = face.getbbox(glyph)
    image = Image.new("L", (FINE, FINE))
    ImageDraw.Draw(image).text(((FINE - left - right) / 2, (FINE - top - bottom) / 2), glyph, font=face, fill=255)
    if not printed:
        from skimage.morphology import skeletonize  # imports for most of a second, so only where strokes are made

        thin = Image.fromarray(skeletonize(np.asarray(image) > 127).astype(np.uint8) * 255)
        image = thin.filter(ImageFilter.MaxFilter(5))
    return np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX))
