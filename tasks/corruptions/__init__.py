"""Corruptions of images: seven of those that CIFAR-10-C and ImageNet-C are made of (arXiv:1903.12261).

The formulas and severities are those of the released code, github.com/hendrycks/robustness; the code here is another.
Two things differ throughout: computed values are rounded to the nearest level (there most are cut off, which darkens an
image by half a level), and all severities of an image share their random numbers (there each draws its own).
"""

from mergebench.data.corruption import Corruption
from mergebench.tasks.corruptions.blur import MOTION_BLUR
from mergebench.tasks.corruptions.digital import CONTRAST, JPEG_COMPRESSION, PIXELATE
from mergebench.tasks.corruptions.noise import GAUSSIAN_NOISE, IMPULSE_NOISE
from mergebench.tasks.corruptions.weather import SPATTER

__all__ = ["CORRUPTIONS"]

CORRUPTIONS: dict[str, Corruption] = {
    corruption.name: corruption
    for corruption in (
        MOTION_BLUR,
        IMPULSE_NOISE,
        GAUSSIAN_NOISE,
        PIXELATE,
        SPATTER,
        CONTRAST,
        JPEG_COMPRESSION,
    )
}
