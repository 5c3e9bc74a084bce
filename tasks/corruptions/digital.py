"""What cameras and files do to an image: less contrast, fewer pixels, JPEG."""

from typing import TYPE_CHECKING

from mergebench.data.corruption import Corruption
from mergebench.tasks.corruptions.pixels import as_bytes
from mergebench.tasks.corruptions.severities import strength

if TYPE_CHECKING:
    import numpy as np


def contrast(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """Every channel is drawn towards its mean over the image: (x - mean) c + mean."""
    factor = strength("contrast", image, severity)
    means = image.mean(axis=(0, 1), keepdims=True)
    return as_bytes((image - means) * factor + means)


def pixelate(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """Shrunk to a share of its sides with a box filter, then enlarged again with the same filter.

    Both sides are shrunk (the released code knows squares only), to one pixel at least.
    """
    import numpy as np
    from PIL import Image

    share = strength("pixelate", image, severity)
    height, width = image.shape[:2]
    box = Image.Resampling.BOX
    small = Image.fromarray(image).resize((max(1, int(width * share)), max(1, int(height * share))), box)
    return np.array(small.resize((width, height), box))


def jpeg_library() -> str:
    """The JPEG library that Pillow was built with: "libjpeg-turbo-3.1.0"."""
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    return f"libjpeg-turbo-{turbo}" if turbo else f"libjpeg-{features.version_codec('jpg')}"


def jpeg_compression(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """Encoded as JPEG at a quality, and decoded; Pillow's defaults otherwise (chroma at half the resolution).

    The bits depend on Pillow's JPEG library, whose releases may differ by a level here and there.
    """
    import io

    import numpy as np
    from PIL import Image

    quality = strength("jpeg-compression", image, severity)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


CONTRAST = Corruption(
    "contrast",
    "Contrast",
    "(x - mean) c + mean, mean per channel over the image; c by severity (arXiv:1903.12261)",
    contrast,
)
PIXELATE = Corruption(
    "pixelate",
    "Pixelate",
    "resized with a box filter to floor(c W) x floor(c H) pixels and back; c by severity (arXiv:1903.12261)",
    pixelate,
)
JPEG_COMPRESSION = Corruption(
    "jpeg-compression",
    "JPEG compression",
    "JPEG encoded at quality q, chroma 4:2:0, and decoded; q by severity (arXiv:1903.12261)",
    jpeg_compression,
    library=jpeg_library,
)
