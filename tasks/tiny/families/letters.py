"""Letters: capital and small letters as written by many hands (stands for EMNIST Letters)."""

import string
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.handwriting import Hand, handwritten
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np

CLASSES = tuple(f"letter {letter}" for letter in string.ascii_lowercase)
TEMPLATES = ("a photo of the {}.", "the handwritten {}.", "a handwritten {}.")
FACES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSansMono.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralItalic.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmti10.ttf",
    "cmtt10.ttf",
    "cmmi10.ttf",
)
HAND = Hand(bend=1.15, slant=0.2, turn=0.1)


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A capital or small letter of a random font, bent as by a hand.

    Args:
        rng: the image's own random generator.
        label: which letter of the alphabet.
        split: unused: nothing is real but the fonts, which all splits share.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    letter = string.ascii_letters[label + 26 * int(rng.integers(2))]
    return handwritten(letter, FACES[rng.integers(len(FACES))], HAND, rng), {"colour": "white", "background": "black"}


TASK = Entry(
    name="letters",
    title="Letters",
    stands_for="emnist_letters",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="matplotlib (fonts DejaVu, STIX, Computer Modern)",
    licence="LICENSE_DEJAVU, LICENSE_STIX; none stated for Computer Modern",
    real="the fonts' glyphs",
    drawn="pen strokes, slant and elastic bending",
    generic=("handwritten letter", "letter by hand", "scanned letter"),
    named=("handwritten {}", "{} by hand", "{}"),
    weight=1.5,
)
