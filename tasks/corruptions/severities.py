"""How strong each severity is: the tables of CIFAR-10-C (32 pixels) and of ImageNet-C (224 pixels)."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

SMALL = 100  # pixels of the shorter side; below it the table of CIFAR-10-C holds


class Motion(NamedTuple):
    """The blur reaches 2 `radius` pixels far; `sigma` is the deviation of its Gaussian, in pixels."""

    radius: int
    sigma: float


class Liquid(NamedTuple):
    """What spatters: normal noise blurred by `sigma` pixels; liquid is where it is at least `threshold`.

    Args:
        mean: of the noise, in image values from 0 to 1.
        deviation: of the noise.
        sigma: of the blur, in pixels.
        threshold: in image values.
        last: the strength of water, or the sigma in pixels by which mud's edges are softened.
        mud: mud, or else water.
    """

    mean: float
    deviation: float
    sigma: float
    threshold: float
    last: float
    mud: bool


CIFAR_10_C = {
    "gaussian-noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # deviation, in image values from 0 to 1
    "impulse-noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # share of the values
    # Severities 3 and 4 are one: 12 pixels already hold all there is of half a Gaussian of deviation 2. In CIFAR-10-C
    # the two differ by their random angles only.
    "motion-blur": (Motion(6, 1), Motion(6, 1.5), Motion(6, 2), Motion(8, 2), Motion(9, 2.5)),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # factor
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # share of the side
    "jpeg-compression": (80, 65, 58, 50, 40),  # quality
    "spatter": (
        Liquid(0.62, 0.1, 0.7, 0.7, 0.5, False),
        Liquid(0.65, 0.1, 0.8, 0.7, 0.5, False),
        Liquid(0.65, 0.3, 1, 0.69, 0.5, False),
        Liquid(0.65, 0.1, 0.7, 0.69, 0.6, True),
        Liquid(0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
}

IMAGENET_C = {
    "gaussian-noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "impulse-noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "motion-blur": (Motion(10, 3), Motion(15, 5), Motion(15, 8), Motion(15, 12), Motion(20, 15)),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg-compression": (25, 18, 15, 10, 7),
    "spatter": (
        Liquid(0.65, 0.3, 4, 0.69, 0.6, False),
        Liquid(0.65, 0.3, 3, 0.68, 0.6, False),
        Liquid(0.65, 0.3, 2, 0.68, 0.5, False),
        Liquid(0.65, 0.3, 1, 0.65, 1.5, True),
        Liquid(0.67, 0.4, 1, 0.65, 1.5, True),
    ),
}


def strength(name: str, image: "np.ndarray", severity: int):
    """A corruption's setting for an image [H, W, 3]; lengths in pixels stay as they are in the table."""
    table = CIFAR_10_C if min(image.shape[:2]) < SMALL else IMAGENET_C
    return table[name][severity - 1]
