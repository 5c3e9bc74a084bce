"""CLIP's look at an image, before it is scaled and normalised: RGB, resized, and cut to a square."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

VERSION = 1  # raise it whenever `square` would give other pixels


def square(image: "Image.Image", size: int) -> "np.ndarray":
    """The shorter side resized to `size` (bicubic, by PIL), then the centre, as torchvision's transforms have it.

    Whatever the file holds (a palette, grey, 16 bits, transparency) is first made RGB as PIL does it, and a camera's
    note on how to turn the image is not read: both as in the pipeline that the published experts saw. OpenAI's and
    open_clip's code makes it RGB last, which gives the same bits for RGB and grey images, and resizes a palette's
    images without interpolation.

    Args:
        image: any.
        size: side of the square, in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    import numpy as np
    from PIL import Image

    image = image.convert("RGB")
    width, height = image.size
    short = min(width, height)
    resized = (int(size * width / short), int(size * height / short))
    if resized != image.size:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in resized)
    return np.asarray(image.crop((left, top, left + size, top + size)))
