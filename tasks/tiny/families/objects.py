"""Objects: large, shaded animals and vehicles in their surroundings (stands for STL-10)."""

from functools import cache
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, Colour, any_colour, finish, shade, tilt
from mergebench.tasks.tiny.drawing.pen import FLOOR, palette, set_off
from mergebench.tasks.tiny.drawing.silhouettes import VEHICLES, silhouette
from mergebench.tasks.tiny.drawing.sources import backdrop, crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# class -> surroundings, all equally likely; "photo" is any photograph
GROUNDS = {
    "airplane": ("sky", "sky", "sky", "street", "photo"),
    "bird": ("sky", "grass", "sea", "photo"),
    "car": ("street", "street", "grass", "photo"),
    "cat": ("photo", "photo", "grass", "street"),
    "deer": ("grass", "grass", "snow", "photo"),
    "dog": ("grass", "snow", "street", "photo"),
    "horse": ("grass", "grass", "snow", "photo"),
    "monkey": ("photo", "photo", "grass", "sky"),
    "ship": ("sea", "sea", "sea", "sky", "photo"),
    "truck": ("street", "street", "snow", "photo"),
}
FUR: tuple[tuple[str, Colour], ...] = (
    ("brown", (120, 80, 45)), ("brown", (85, 55, 35)), ("orange", (200, 130, 65)), ("grey", (125, 122, 118)),
    ("white", (225, 220, 210)), ("black", (38, 35, 35)), ("yellow", (200, 175, 120)),
)  # fmt: skip
LEAST = 50  # least difference of figure and surroundings, in grey levels
LANDS = {"grass": (85, 125, 55), "street": (115, 112, 110), "snow": (225, 230, 238), "sea": (45, 85, 120)}


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """An animal or a vehicle of the class, facing either way, lit from above.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the surroundings and the surfaces.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import Image, ImageOps

    name = tuple(GROUNDS)[label]
    body_name, tones = _tones(name, rng)
    stretch = (rng.uniform(0.85, 1.0), rng.uniform(0.85, 1.05))
    figure = silhouette(name, tones, rng, 0.012, stretch)
    alpha = figure.getchannel("A")
    surface = Image.blend(backdrop(split, rng, CANVAS).convert("L"), _ramp(), rng.uniform(0.5, 0.85))
    figure = _lit(figure, surface)
    figure.putalpha(alpha)
    facing = "right"
    if rng.random() < 0.5:
        figure, facing = ImageOps.mirror(figure), "left"
    lean = 9 if name in ("airplane", "bird") else 3
    figure = tilt(figure, rng, 0.04, (0.9, 1.1), 0.05).rotate(rng.normal(0, lean), Image.Resampling.BILINEAR)
    ground = GROUNDS[name][rng.integers(len(GROUNDS[name]))]
    image = set_off(_surroundings(ground, split, rng), tones["body"], LEAST)
    image.paste(figure, (0, 0), figure)
    facts = {"colour": body_name, "facing": facing} | ({"ground": ground} if ground in LANDS else {})
    return finish(image, rng, blur=0.6, light=0.25, cast=0.08, noise=5), facts


def _tones(name: str, rng: "np.random.Generator") -> tuple[str, dict[str, Colour]]:
    """The body's colour name and a palette: paints for vehicles, furs and feathers for animals."""
    if name in VEHICLES or (name == "bird" and rng.random() < 0.5):
        pale = name == "airplane" and rng.random() < 0.6
        body_name, body = any_colour(rng, ("white", "grey")) if pale else any_colour(rng)
        second = any_colour(rng)[1]
    else:
        body_name, body = FUR[rng.integers(len(FUR))]
        body = shade(body, rng.uniform(0.8, 1.2))
        second = shade(body, rng.uniform(1.1, 1.5)) if rng.random() < 0.6 else FUR[rng.integers(len(FUR))][1]
    return body_name, palette(body, second, rng)


@cache
def _ramp() -> "Image.Image":
    """Light from above: a grey ramp, bright at the top."""
    from PIL import Image

    ramp = Image.linear_gradient("L").resize((CANVAS, CANVAS))
    return ramp.point(lambda value: 235 - 0.65 * value)


def _lit(figure: "Image.Image", surface: "Image.Image") -> "Image.Image":
    """The figure's colours times a grey surface that has 170 for unchanged."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(figure.convert("RGB"), dtype=np.float32)
    factor = 0.35 + 0.65 * np.asarray(surface, dtype=np.float32) / 150
    return Image.fromarray(np.clip(pixels * factor[:, :, None], 0, 255).astype(np.uint8))


def _surroundings(ground: str, split: str, rng: "np.random.Generator") -> "Image.Image":
    """A photograph, an open sky, or land or sea below a sky or a photograph."""
    from PIL import Image, ImageFilter

    if ground == "photo":
        return backdrop(split, rng, CANVAS).filter(ImageFilter.BoxBlur(rng.uniform(1, 4)))
    image = _sky(split, rng)
    if ground == "sky":
        return image
    if rng.random() < 0.5:
        image = backdrop(split, rng, CANVAS).filter(ImageFilter.BoxBlur(rng.uniform(1, 4)))
    low = rng.uniform(0.4, 0.85 * (1 + FLOOR) / 2)
    texture = crop({"grass": "grass", "street": "gravel"}.get(ground, "moon"), split, rng, CANVAS)
    land = Image.blend(
        Image.new("RGB", image.size, shade(LANDS[ground], rng.uniform(0.7, 1.2))), texture, rng.uniform(0.15, 0.4)
    )
    image.paste(land, (0, int(low * CANVAS)))
    return image


def _sky(split: str, rng: "np.random.Generator") -> "Image.Image":
    """Blue, grey or evening sky, brighter towards the horizon, with clouds from a blurred photograph."""
    from PIL import Image, ImageFilter

    top = ((70, 125, 205), (120, 165, 220), (150, 155, 165), (215, 150, 110))[rng.integers(4)]
    top = shade(top, rng.uniform(0.75, 1.1))
    high, low = Image.new("RGB", (CANVAS, CANVAS), top), Image.new("RGB", (CANVAS, CANVAS), (225, 228, 230))
    sky = Image.composite(low, high, Image.linear_gradient("L").resize((CANVAS, CANVAS)).point(lambda v: 0.8 * v))
    clouds = crop("hopper", split, rng, CANVAS).convert("L").filter(ImageFilter.BoxBlur(5)).convert("RGB")
    return Image.blend(sky, clouds, rng.uniform(0, 0.25))


TASK = Entry(
    name="objects",
    title="Objects",
    stands_for="stl10",
    classes=tuple(GROUNDS),
    templates=("a photo of a {}.", "a photo of the {}."),
    draw=draw,
    source=f"{PHOTOGRAPHS}; grass, gravel and moon from scikit-image",
    licence=PHOTOGRAPH_TERMS,
    real="backgrounds, grass and gravel, texture of the surfaces",
    drawn="animals, vehicles, skies",
    generic=("thing", "animal or vehicle", "big thing"),
    weight=1.0,
)
