"""Noise: one random field per image, which the severities scale or cut."""

from typing import TYPE_CHECKING

from mergebench.data.corruption import Corruption
from mergebench.tasks.corruptions.pixels import as_bytes
from mergebench.tasks.corruptions.severities import strength

if TYPE_CHECKING:
    import numpy as np


def gaussian_noise(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """Independent normal noise on every value: x + c z, z ~ N(0, 1), on the scale 0 to 1."""
    deviation = strength("gaussian-noise", image, severity)
    return as_bytes(image + (255 * deviation) * rng.standard_normal(image.shape))


def impulse_noise(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """A share of the values, channel by channel, becomes 0 or 255, with even chances."""
    import numpy as np

    share = strength("impulse-noise", image, severity)
    hit = rng.random(image.shape) < share
    salt = rng.random(image.shape) < 0.5
    return np.where(hit, np.where(salt, np.uint8(255), np.uint8(0)), image)


GAUSSIAN_NOISE = Corruption(
    "gaussian-noise",
    "Gaussian noise",
    "clip(x + c z), z ~ N(0, 1) per pixel and channel; c by severity (arXiv:1903.12261)",
    gaussian_noise,
)
IMPULSE_NOISE = Corruption(
    "impulse-noise",
    "Impulse noise",
    "a share c of the values (per pixel and channel) becomes 0 or 1 with even chances (arXiv:1903.12261)",
    impulse_noise,
)
