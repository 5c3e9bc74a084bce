"""Drawing helpers shared by the renderers: colours, fonts, rotation, perspective, light and noise."""

import colorsys
from functools import cache
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.sources import package_file

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageFont

SIZE = 32  # pixels of an image's side
CANVAS = 96  # objects are drawn three times as large and averaged down: smooth edges at no cost

# name -> hue in turns, saturation and value ranges
COLOURS = {
    "red": (0.99, (0.75, 1.0), (0.6, 0.95)),
    "orange": (0.075, (0.8, 1.0), (0.85, 1.0)),
    "yellow": (0.15, (0.75, 1.0), (0.85, 1.0)),
    "green": (0.35, (0.6, 1.0), (0.35, 0.75)),
    "cyan": (0.5, (0.5, 0.9), (0.6, 0.95)),
    "blue": (0.61, (0.7, 1.0), (0.45, 0.95)),
    "purple": (0.77, (0.5, 0.9), (0.4, 0.75)),
    "pink": (0.92, (0.3, 0.6), (0.85, 1.0)),
    "brown": (0.07, (0.5, 0.75), (0.25, 0.5)),
    "white": (0.1, (0.0, 0.06), (0.9, 1.0)),
    "grey": (0.6, (0.0, 0.08), (0.4, 0.65)),
    "black": (0.6, (0.0, 0.2), (0.02, 0.15)),
}
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "cmr10.ttf",
    "cmb10.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
)

Colour = tuple[int, int, int]


def colour(name: str, rng: "np.random.Generator") -> Colour:
    """A random shade of a named colour, RGB 0-255."""
    hue, saturation, value = COLOURS[name]
    shade = colorsys.hsv_to_rgb((hue + rng.uniform(-0.02, 0.02)) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return tuple(int(255 * channel) for channel in shade)


def any_colour(rng: "np.random.Generator", names: tuple[str, ...] = tuple(COLOURS)) -> tuple[str, Colour]:
    """A random colour name among `names` and a shade of it."""
    name = names[rng.integers(len(names))]
    return name, colour(name, rng)


def shade(base: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(int(min(255, max(0, channel * factor))) for channel in base)


def contrast(first: Colour, second: Colour) -> float:
    """Difference of two colours' brightness, 0-255."""
    weights = (0.299, 0.587, 0.114)
    return abs(sum(w * (a - b) for w, a, b in zip(weights, first, second, strict=True)))


@cache
def font(file: str, size: int) -> "ImageFont.FreeTypeFont":
    """One of matplotlib's fonts at a size in pixels."""
    from PIL import ImageFont

    return ImageFont.truetype(str(package_file("matplotlib", f"mpl-data/fonts/ttf/{file}")), size)


def layer(size: int = CANVAS) -> "Image.Image":
    """A transparent square to draw on."""
    from PIL import Image

    return Image.new("RGBA", (size, size), (0, 0, 0, 0))


def write(image: "Image.Image", text: str, centre: tuple[float, float], file: str, height: int, fill: Colour) -> None:
    """Writes text centred at a point by its inked box, not by its font's metrics."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    face = font(file, height)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=face)
    pen.text((centre[0] - (left + right) / 2, centre[1] - (top + bottom) / 2), text, font=face, fill=fill)


def spin(image: "Image.Image", degrees: float, size: int = CANVAS) -> "Image.Image":
    """Rotates and keeps the central size x size square."""
    from PIL import Image

    turned = image.rotate(degrees, Image.Resampling.BILINEAR)
    edge = (turned.width - size) // 2
    return turned.crop((edge, edge, edge + size, edge + size)) if edge else turned


def tilt(
    image: "Image.Image", rng: "np.random.Generator", strength: float, scale: tuple[float, float], drift: float
) -> "Image.Image":
    """Sees a square layer from a random direction.

    Args:
        strength: how far each corner may move, as a fraction of the side.
        scale: range of the object's size relative to the layer.
        drift: how far the centre may move, as a fraction of the side.
    """
    from PIL import Image

    side = image.width
    grow = 1.0 / rng.uniform(*scale)
    shift = rng.uniform(-drift, drift, size=2) * grow
    corners = []
    for x, y in ((0, 0), (0, 1), (1, 1), (1, 0)):
        moved = (x - 0.5, y - 0.5) + rng.uniform(-strength, strength, size=2)
        corners += list((0.5 + moved * grow + shift) * side)
    return image.transform((side, side), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)


def finish(
    image: "Image.Image",
    rng: "np.random.Generator",
    blur: float = 0.6,
    light: float = 0.25,
    cast: float = 0.06,
    noise: float = 6.0,
) -> "np.ndarray":
    """Photographs the canvas: blur, light, colour cast and sensor noise, down to the final size.

    Args:
        image: RGB canvas of any size.
        blur: largest radius of the blur, in final pixels.
        light: largest relative change of brightness and contrast.
        cast: largest relative change of one colour channel.
        noise: largest standard deviation of the noise, in grey levels.

    Returns:
        uint8 [32, 32, 3].
    """
    import numpy as np
    from PIL import Image, ImageFilter

    if blur > 0:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0, blur) * image.width / SIZE))
    pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float32)
    gain = rng.uniform(1 - light, 1 + light)
    pivot = rng.uniform(96, 160)
    pixels = (pixels - pivot) * gain + pivot + rng.uniform(-light, light) * 100
    pixels = pixels * rng.uniform(1 - cast, 1 + cast, size=3).astype(np.float32)
    if noise > 0:
        pixels = pixels + rng.uniform(0, noise) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)
