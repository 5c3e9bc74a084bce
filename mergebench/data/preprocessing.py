"""CLIP's look at an image, before it is scaled and normalised: RGB, resized, and cut to a square."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

VERSION = 2  # raise it whenever `square` would give other pixels


def square(image: "Image.Image", size: int) -> "np.ndarray":
    """The shorter side resized to `size` (bicubic, by PIL), then the centre: what the published experts were shown.

    That is FusionBench's pipeline of datasets and transformers: the image turned upright where a camera noted how,
    made RGB by PIL whatever the file holds (a palette, grey, 16 bits, transparency), resized, and cut so that of an
    odd number of pixels to spare the larger part is below and to the right. OpenAI's and open_clip's transforms differ
    in details: they turn nothing, round half a pixel to even, which moves the cut by one pixel in a quarter of
    images, and make an image RGB last, so that a palette's is resized without interpolation.

    Args:
        image: any.
        size: side of the square, in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    import numpy as np
    from PIL import Image

    image = _upright(image).convert("RGB")
    width, height = image.size
    short = min(width, height)
    resized = (int(size * width / short), int(size * height / short))
    if resized != image.size:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in resized)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _upright(image: "Image.Image") -> "Image.Image":
    """Turned as its camera noted, if it did."""
    from PIL import ExifTags, ImageOps

    try:
        noted = image.getexif().get(ExifTags.Base.Orientation) is not None
        return ImageOps.exif_transpose(image) if noted else image
    except Exception:  # noqa: BLE001 (notes in disorder raise many kinds; the pixels may be whole all the same)
        return image
