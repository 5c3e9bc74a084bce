"""CLIP's look at an image, before it is scaled and normalised: RGB, resized, and cut to a square."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

LONGEST = 256  # how many times as long as wide an image may be and be resized as a whole
CLEAR = "transparency"
DEPTH = "more than 8 bits a channel"
FRAMES = "further pictures of files that hold several"
STRIP = 1 << 20  # pixels
DEEP = 65535  # white of 16 bits
CLIPPED = 255  # white of 8 bits; PIL takes larger values for it
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

    image = _upright(image)
    image = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    width, height = image.size
    short = min(width, height)
    resized = (int(size * width / short), int(size * height / short))
    left, top = ((side - size) // 2 for side in resized)
    if max(resized) > LONGEST * size:
        return np.asarray(_middle(image, resized, (left, top), size))
    if resized != image.size:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _middle(image: "Image.Image", resized: tuple[int, int], corner: tuple[int, int], size: int) -> "Image.Image":
    """The square at `corner` of an image, were it resized: no more of it is made, however long it is."""
    from PIL import Image

    start, box = [], []
    for side, made, first in zip(image.size, resized, corner, strict=True):
        step = side / made
        margin = int(4 * max(step, 1)) + 2  # bicubic looks at two pixels to either side, of the larger grid
        begin = max(0, int(first * step) - margin)
        start.append((begin, min(side, int((first + size) * step) + margin + 1)))
        box.append((first * step - begin, (first + size) * step - begin))
    near = image.crop((start[0][0], start[1][0], start[0][1], start[1][1]))
    return near.resize((size, size), Image.Resampling.BICUBIC, box=(box[0][0], box[1][0], box[0][1], box[1][1]))


def several(image: "Image.Image") -> bool:
    """Whether a file holds pictures one behind the other (GIF, TIFF, WebP); only the first is looked at."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 (of a file in disorder; the first may be whole all the same)
        return False


def in_doubt(image: "Image.Image") -> str:
    """Why an image is not simply 8-bit RGB, or grey, as its file's header says; empty if it is."""
    if image.mode[0] in "IF":
        return DEPTH
    return CLEAR if image.has_transparency_data else ""


def rgb(image: "Image.Image", alpha: str = "", white: float | None = None) -> "Image.Image":
    """An image whose pixels are beyond doubt as 8-bit RGB; where they are in doubt, somebody has said how to see them.

    Args:
        image: any.
        alpha: what is seen through transparent pixels: "white", "black", or "dropped" (their hidden colours).
        white: the value that is white, of images with more than 8 bits a channel; what is above it is white, too.
            None: the largest of 16 bits, where an image has so many.

    Raises:
        MergebenchError: it is transparent, or of 32 bits a channel, and nothing is said of that.
    """
    import numpy as np
    from PIL import Image

    if image.mode[0] in "IF" and white != CLIPPED:
        if white is None and (image.mode.startswith("I;16") or image.format == "PPM"):
            white = DEEP  # as these files mean it
        if white is None:
            kind = "of floating-point numbers" if image.mode == "F" else "32 bits a channel"
            raise MergebenchError(
                f"it is {kind}; say which value is white (`white: 1`, or 65535, or 255), or save it with 8 bits"
            )

        def scaled(part: "Image.Image") -> "Image.Image":
            values = np.nan_to_num(np.asarray(part, dtype=np.float64)) * CLIPPED / white
            return Image.fromarray(np.rint(values.clip(0, CLIPPED)).astype(np.uint8))

        return _by_rows(_upright(image), "L", scaled)
    if alpha == "dropped" or not image.has_transparency_data:
        return image
    whole = _upright(image)
    if all(part.convert("RGBA").getchannel("A").getextrema()[0] == CLIPPED for _, part in _rows(whole)):
        return image
    if not alpha:
        raise MergebenchError(
            "it is transparent in places; say what is seen there (`alpha: white`, black, or dropped: the colours that "
            "are hidden), or save it without"
        )

    def seen(part: "Image.Image") -> "Image.Image":
        return Image.alpha_composite(Image.new("RGBA", part.size, alpha), part.convert("RGBA")).convert("RGB")

    return _by_rows(whole, "RGB", seen)


def _rows(image: "Image.Image") -> "Iterator[tuple[int, Image.Image]]":
    """An image in strips, with the first row of each: what is made on the way takes little memory."""
    step = max(1, STRIP // image.width)
    for top in range(0, image.height, step):
        yield top, image.crop((0, top, image.width, min(image.height, top + step)))


def _by_rows(image: "Image.Image", mode: str, change: "Callable[[Image.Image], Image.Image]") -> "Image.Image":
    """An image of which every pixel is changed by itself, strip by strip."""
    from PIL import Image

    made = Image.new(mode, image.size)
    for top, part in _rows(image):
        made.paste(change(part), (0, top))
    return made


def _upright(image: "Image.Image") -> "Image.Image":
    """Turned as its camera noted, if it did."""
    from PIL import ExifTags, ImageOps

    try:
        noted = image.getexif().get(ExifTags.Base.Orientation) is not None
        return ImageOps.exif_transpose(image) if noted else image
    except Exception:  # noqa: BLE001 (notes in disorder raise many kinds; the pixels may be whole all the same)
        return image
