"""Thumbnails: small, coarse, flat animals and vehicles off the centre (stands for CIFAR-10)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, COLOURS, SIZE, Colour, any_colour, contrast, finish, tilt
from mergebench.tasks.tiny.drawing.pen import palette
from mergebench.tasks.tiny.drawing.silhouettes import silhouette
from mergebench.tasks.tiny.drawing.sources import backdrop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

DRAWN_AS = {"automobile": "car"}
FURS = ("brown", "black", "white", "grey", "orange")
SKIES = ("blue", "cyan", "white", "grey")
LANDS = ("green", "brown", "yellow", "white")
ROADS = ("grey", "white", "black", "brown", "cyan")
ANY = tuple(COLOURS)
# class -> colours of its body and of its ground: as in the original, they tell something, but not enough.
COLOURED = {
    "airplane": (ANY, SKIES),
    "automobile": (ANY, ROADS),
    "bird": (ANY, ANY),
    "cat": (FURS, ANY),
    "deer": (FURS, LANDS),
    "dog": (FURS, ANY),
    "frog": (("green", "green", "green", "brown", "yellow", "orange"), ANY),
    "horse": (FURS, LANDS),
    "ship": (ANY, SKIES),
    "truck": (ANY, ROADS),
}
STRAYS = 0.2  # share of grounds in any colour
COARSEST = 20  # sides in pixels between which a picture is enlarged to the final size
FINEST = 28
LEAST = 60  # least difference of figure and ground, in grey levels


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A small flat figure of the class on a plain ground, at low resolution.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np
    from PIL import Image, ImageOps

    name = tuple(COLOURED)[label]
    bodies, grounds = COLOURED[name]
    grounds = ANY if rng.random() < STRAYS else grounds
    body_name, body = any_colour(rng, bodies)
    ground_name, ground = any_colour(rng, grounds)
    while contrast(body, ground) < LEAST:
        body_name, body = any_colour(rng, bodies)
        ground_name, ground = any_colour(rng, grounds)
    stretch = (rng.uniform(0.75, 1.0), rng.uniform(0.8, 1.1))
    tones = palette(body, any_colour(rng)[1], rng)
    figure = silhouette(DRAWN_AS.get(name, name), tones, rng, 0.015, stretch)
    facing = "right"
    if rng.random() < 0.5:
        figure, facing = ImageOps.mirror(figure), "left"
    figure = tilt(figure, rng, 0.04, (0.78, 1.02), 0.09).rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    image = _ground(ground, split, rng)
    image.paste(figure, (0, 0), figure)
    side = int(rng.integers(COARSEST, FINEST + 1))
    small = image.resize((side, side), Image.Resampling.BOX)
    # Few grey levels, as strong compression leaves them.
    levels = rng.uniform(6, 20)
    small = Image.fromarray((np.round(np.asarray(small) / levels) * levels).clip(0, 255).astype(np.uint8))
    image = small.resize((SIZE, SIZE), Image.Resampling.BILINEAR if rng.random() < 0.6 else Image.Resampling.NEAREST)
    facts = {"colour": body_name, "facing": facing, "background": ground_name}
    return finish(image, rng, blur=0.0, light=0.2, cast=0.15, noise=5), facts


def _ground(ground: "Colour", split: str, rng: "np.random.Generator") -> "Image.Image":
    """A colour that fades into another shade, with a little of a photograph."""
    from PIL import Image

    size = (CANVAS, CANVAS)
    plain = Image.new("RGB", size, ground)
    other = Image.new("RGB", size, tuple(int(channel * rng.uniform(0.6, 1.0)) for channel in ground))
    ramp = Image.linear_gradient("L").rotate(int(rng.integers(4)) * 90).resize(size)
    return Image.blend(Image.composite(other, plain, ramp), backdrop(split, rng, CANVAS), rng.uniform(0.05, 0.35))


TASK = Entry(
    name="thumbnails",
    title="Thumbnails",
    stands_for="cifar10",
    classes=tuple(COLOURED),
    templates=("a photo of a {}.", "a blurry photo of a {}.", "a low resolution photo of a {}."),
    draw=draw,
    source=PHOTOGRAPHS,
    licence=PHOTOGRAPH_TERMS,
    real="part of the backgrounds",
    drawn="animals, vehicles, colours, coarseness",
    generic=("thumbnail", "little thing", "small picture"),
    named=("{}", "little {}", "blurry {}"),
    weight=1.5,
)
