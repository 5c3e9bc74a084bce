"""Blur by motion, in a direction drawn per image."""

import math
from typing import TYPE_CHECKING

from mergebench.data.corruption import Corruption
from mergebench.tasks.corruptions.pixels import as_bytes
from mergebench.tasks.corruptions.severities import strength

if TYPE_CHECKING:
    import numpy as np

STEEPEST = 45  # degrees from the horizontal


def motion_blur(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """Weighted mean over a ray of 2r + 1 pixels: weights of half a Gaussian, angle uniform in -45 to 45 degrees.

    The released code leaves this to ImageMagick's motion blur, whose definition is followed: the ray starts in the
    pixel itself, step k is taken from the nearest whole pixel (halves downwards), and beyond the edge lie the edge's
    values.
    """
    import numpy as np

    radius, sigma = strength("motion-blur", image, severity)
    angle = math.radians(rng.uniform(-STEEPEST, STEEPEST))
    reach = 2 * radius
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    height, width = image.shape[:2]
    around = np.pad(image.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros(image.shape)
    for step, weight in enumerate(weights):
        top = reach + math.ceil(step * math.sin(angle) - 0.5)
        left = reach + math.ceil(step * math.cos(angle) - 0.5)
        total += weight * around[top : top + height, left : left + width]
    return as_bytes(total)


MOTION_BLUR = Corruption(
    "motion-blur",
    "Motion blur",
    "sum_k w_k x(p + k u), k = 0..2r, w_k ~ exp(-k^2 / 2 s^2), u at an angle within 45 degrees (arXiv:1903.12261)",
    motion_blur,
)
