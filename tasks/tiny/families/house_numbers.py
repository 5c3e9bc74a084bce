"""House numbers: printed digits on walls with neighbouring digits in sight (stands for SVHN)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, FONTS, any_colour, contrast, finish, layer, tilt, write
from mergebench.tasks.tiny.drawing.sources import backdrop, crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a photo of the number {}.", "a street sign of the number {}.", "a photo of the house number {}.")


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A digit in a random font on a wall, a plate or a photograph, between two other digits.

    Args:
        rng: the image's own random generator.
        label: the digit.
        split: whose regions may be used for the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import Image

    ground_name, ground = any_colour(rng)
    ink_name, ink = any_colour(rng)
    while contrast(ground, ink) < 70:
        ink_name, ink = any_colour(rng)
    kind = rng.random()
    photograph = crop("brick", split, rng, CANVAS) if kind < 0.3 else backdrop(split, rng, CANVAS)
    # The background leans towards the ground colour: otherwise half of the digits could not be read.
    image = Image.blend(photograph, Image.new("RGB", photograph.size, ground), rng.uniform(0.45, 0.95))
    text = layer()
    file, height = FONTS[rng.integers(len(FONTS))], int(rng.uniform(0.75, 1.0) * CANVAS)
    spacing = height * rng.uniform(0.6, 0.75)
    for place in (-1, 0, 1):
        digit = label if place == 0 else int(rng.integers(10))
        if place == 0 or rng.random() < 0.7:
            write(text, str(digit), (CANVAS / 2 + place * spacing, CANVAS / 2), file, height, ink)
    text = tilt(text, rng, 0.06, (0.8, 1.1), 0.06)
    image.paste(text, (0, 0), text)
    return finish(image, rng, blur=0.9), {"colour": ink_name, "background": ground_name}


TASK = Entry(
    name="house-numbers",
    title="House numbers",
    stands_for="svhn",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source=f"fonts of matplotlib (DejaVu, STIX, Computer Modern); {PHOTOGRAPHS}; scikit-image (brick)",
    licence=f"fonts: LICENSE_DEJAVU, LICENSE_STIX; none stated for Computer Modern; {PHOTOGRAPH_TERMS}",
    real="the fonts and the backgrounds",
    drawn="the composition: digit, neighbours, colours",
    generic=("number", "house number", "digit on a wall"),
    named=("number {}", "house number {}", "{} on a wall"),
    weight=2.0,
)
