"""Cursive: Georgian letters, each in the unlike forms of its three alphabets, by brush (stands for KMNIST)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.handwriting import Hand, handwritten
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np

# Place of each letter in the alphabet; the three alphabets have the same order.
LETTERS = {"ban": 1, "gan": 2, "don": 3, "vin": 5, "zen": 6, "las": 10, "nar": 12, "par": 14, "san": 17, "shin": 24}
ALPHABETS = (0x10D0, 0x10A0, 0x2D00)  # Mkhedruli, Asomtavruli, Nuskhuri
FACES = ("DejaVuSans.ttf", "DejaVuSerif.ttf")
CLASSES = tuple(LETTERS)
TEMPLATES = ("a photo of the character {}.", "the cursive character {}.", "a brushed {}.")
HAND = Hand(bend=1.4, slant=0.2, turn=0.12, pen=(2.2, 4.0), brush=0.35, printed=0.1)


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A letter in one of its three forms, brushed freely.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: unused: nothing is real but the fonts, which all splits share.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    glyph = chr(ALPHABETS[rng.integers(len(ALPHABETS))] + LETTERS[CLASSES[label]])
    return handwritten(glyph, FACES[rng.integers(len(FACES))], HAND, rng), {"colour": "white", "background": "black"}


TASK = Entry(
    name="cursive",
    title="Cursive",
    stands_for="kmnist",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="matplotlib (fonts DejaVu)",
    licence="LICENSE_DEJAVU",
    real="the fonts' glyphs",
    drawn="brush strokes, slant and elastic bending",
    generic=("cursive character", "brushed character", "cursive script"),
    named=("cursive {}", "character {}", "brushed {}"),
    weight=1.5,
)
