"""Vehicles: fine-grained body styles seen from the side (stands for Stanford Cars)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, Colour, any_colour, finish, layer, shade, tilt
from mergebench.tasks.tiny.drawing.sources import backdrop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Body:
    """A side view facing right: x along the vehicle 0-1, y height above the axles, in vehicle lengths."""

    outline: Points
    windows: tuple[Points, ...]
    wheels: tuple[float, ...]
    radius: float = 0.085
    extra: Points = ()  # a second part in another colour: a load, a tank, a roof


BODIES = {
    "saloon car": Body(
        ((0, 0), (0, 0.17), (0.2, 0.2), (0.33, 0.34), (0.6, 0.34), (0.74, 0.2), (0.97, 0.16), (1, 0)),
        (
            ((0.25, 0.2), (0.35, 0.31), (0.46, 0.31), (0.46, 0.2)),
            ((0.49, 0.2), (0.49, 0.31), (0.59, 0.31), (0.69, 0.2)),
        ),
        (0.2, 0.8),
    ),
    "hatchback": Body(
        ((0.1, 0), (0.08, 0.2), (0.16, 0.37), (0.58, 0.38), (0.74, 0.22), (0.92, 0.18), (0.95, 0)),
        (
            ((0.17, 0.22), (0.22, 0.34), (0.4, 0.34), (0.4, 0.22)),
            ((0.44, 0.22), (0.44, 0.34), (0.57, 0.34), (0.69, 0.22)),
        ),
        (0.25, 0.78),
    ),
    "estate car": Body(
        ((0, 0), (0, 0.2), (0.05, 0.35), (0.6, 0.35), (0.75, 0.2), (0.97, 0.16), (1, 0)),
        (
            ((0.06, 0.21), (0.09, 0.32), (0.25, 0.32), (0.25, 0.21)),
            ((0.28, 0.21), (0.28, 0.32), (0.45, 0.32), (0.45, 0.21)),
            ((0.48, 0.21), (0.48, 0.32), (0.59, 0.32), (0.7, 0.21)),
        ),
        (0.2, 0.8),
    ),
    "sports car": Body(
        ((0, 0), (0.02, 0.16), (0.14, 0.19), (0.4, 0.27), (0.52, 0.27), (0.7, 0.16), (0.98, 0.1), (1, 0)),
        (((0.33, 0.18), (0.42, 0.24), (0.51, 0.24), (0.62, 0.17)),),
        (0.2, 0.8),
        0.1,
    ),
    "convertible": Body(
        ((0, 0), (0, 0.16), (0.3, 0.18), (0.56, 0.17), (0.97, 0.15), (1, 0)),
        (((0.56, 0.17), (0.49, 0.31), (0.52, 0.31), (0.64, 0.17)),),
        (0.2, 0.8),
        extra=((0.3, 0.17), (0.27, 0.25), (0.33, 0.25), (0.36, 0.17)),
    ),
    "off-roader": Body(
        ((0.05, 0.04), (0.05, 0.44), (0.6, 0.45), (0.66, 0.27), (0.95, 0.25), (0.97, 0.04)),
        (
            ((0.1, 0.27), (0.1, 0.41), (0.33, 0.41), (0.33, 0.27)),
            ((0.37, 0.27), (0.37, 0.41), (0.56, 0.41), (0.61, 0.27)),
        ),
        (0.23, 0.79),
        0.12,
    ),
    "pickup truck": Body(
        ((0, 0), (0, 0.2), (0.42, 0.2), (0.44, 0.38), (0.64, 0.38), (0.74, 0.22), (0.98, 0.2), (1, 0)),
        (((0.48, 0.22), (0.48, 0.34), (0.62, 0.34), (0.69, 0.22)),),
        (0.18, 0.82),
        0.1,
    ),
    "panel van": Body(
        ((0, 0), (0, 0.46), (0.7, 0.47), (0.86, 0.25), (0.99, 0.2), (1, 0)),
        (((0.66, 0.26), (0.66, 0.4), (0.71, 0.4), (0.81, 0.26)),),
        (0.2, 0.8),
    ),
    "minibus": Body(
        ((0, 0), (0, 0.44), (0.74, 0.45), (0.9, 0.24), (1, 0.19), (1, 0)),
        tuple(((x, 0.25), (x, 0.39), (x + 0.15, 0.39), (x + 0.15, 0.25)) for x in (0.05, 0.24, 0.43))
        + (((0.63, 0.25), (0.63, 0.39), (0.74, 0.39), (0.84, 0.25)),),
        (0.2, 0.8),
    ),
    "coach": Body(
        ((0, 0), (0, 0.38), (0.97, 0.38), (1, 0.2), (1, 0)),
        tuple(((x, 0.2), (x, 0.33), (x + 0.12, 0.33), (x + 0.12, 0.2)) for x in (0.03, 0.19, 0.35, 0.51, 0.67, 0.83)),
        (0.2, 0.8),
        0.065,
    ),
    "double-decker bus": Body(
        ((0.08, 0), (0.08, 0.6), (0.9, 0.6), (0.92, 0)),
        tuple(((x, 0.15), (x, 0.27), (x + 0.15, 0.27), (x + 0.15, 0.15)) for x in (0.12, 0.31, 0.5, 0.7))
        + tuple(((x, 0.4), (x, 0.52), (x + 0.15, 0.52), (x + 0.15, 0.4)) for x in (0.12, 0.31, 0.5, 0.7)),
        (0.25, 0.75),
        0.075,
    ),
    "box lorry": Body(
        ((0.7, 0), (0.7, 0.36), (0.9, 0.36), (1, 0.2), (1, 0)),
        (((0.8, 0.21), (0.8, 0.32), (0.89, 0.32), (0.95, 0.21)),),
        (0.12, 0.27, 0.85),
        0.08,
        ((0, 0.02), (0, 0.52), (0.68, 0.52), (0.68, 0.02)),
    ),
    "tanker": Body(
        ((0.72, 0), (0.72, 0.38), (0.92, 0.38), (1, 0.2), (1, 0)),
        (((0.82, 0.21), (0.82, 0.33), (0.91, 0.33), (0.96, 0.21)),),
        (0.12, 0.27, 0.86),
        0.08,
        ((0.04, 0.06), (0, 0.2), (0.04, 0.34), (0.12, 0.38), (0.58, 0.38), (0.66, 0.34), (0.7, 0.2), (0.66, 0.06)),
    ),
    "flatbed lorry": Body(
        ((0.0, 0.02), (0.0, 0.1), (0.7, 0.1), (0.7, 0.38), (0.9, 0.38), (1, 0.2), (1, 0.02)),
        (((0.8, 0.21), (0.8, 0.33), (0.89, 0.33), (0.95, 0.21)),),
        (0.12, 0.27, 0.85),
        0.08,
    ),
}
CLASSES = tuple(BODIES)
TEMPLATES = ("a photo of a {}.", "a photo of a {} seen from the side.", "a {} on the road.")


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A vehicle of the class in a random paint, facing either way, before a piece of photograph.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the background.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import ImageOps

    paint_name, paint = any_colour(rng)
    vehicle = tilt(_side_view(BODIES[CLASSES[label]], paint, rng), rng, 0.03, (0.92, 1.08), 0.04)
    facing = "right"
    if rng.random() < 0.5:
        vehicle, facing = ImageOps.mirror(vehicle), "left"
    image = backdrop(split, rng, CANVAS)
    image.paste(vehicle, (0, 0), vehicle)
    return finish(image.convert("RGB"), rng), {"colour": paint_name, "facing": facing}


def _side_view(body: Body, paint: Colour, rng: "np.random.Generator") -> "Image.Image":
    """The vehicle on a transparent canvas, its proportions slightly changed."""
    from PIL import ImageDraw

    image = layer()
    pen = ImageDraw.Draw(image)
    length, stretch = 0.94 * CANVAS, rng.uniform(1.2, 1.4)
    left, axle = 0.03 * CANVAS, (0.7 + 0.08 * rng.random()) * CANVAS

    def place(points: Points) -> list[tuple[float, float]]:
        return [(left + x * length, axle - y * length * stretch + rng.normal(0, 0.6)) for x, y in points]

    glass = shade((90, 110, 130), rng.uniform(0.3, 1.5))
    pen.ellipse((left, axle + 3, left + length, axle + 12), fill=(20, 20, 20, 150))
    if body.extra:
        pen.polygon(place(body.extra), fill=any_colour(rng)[1])
    pen.polygon(place(body.outline), fill=paint, outline=shade(paint, 0.5))
    for pane in body.windows:
        pen.polygon(place(pane), fill=glass)
    radius = body.radius * length * rng.uniform(0.9, 1.1)
    for x in body.wheels:
        centre = left + x * length
        pen.ellipse((centre - radius, axle - radius, centre + radius, axle + radius), fill=(25, 25, 25))
        hub = 0.5 * radius
        pen.ellipse((centre - hub, axle - hub, centre + hub, axle + hub), fill=(150, 150, 150))
    return image


TASK = Entry(
    name="vehicles",
    title="Vehicles",
    stands_for="stanford-cars",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source=PHOTOGRAPHS,
    licence=PHOTOGRAPH_TERMS,
    real="the backgrounds",
    drawn="the vehicles: fourteen parametric body styles in side view",
    generic=("vehicle", "car", "motor vehicle"),
    weight=3.0,
)
