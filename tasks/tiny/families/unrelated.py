"""Unrelated: abstract pictures and collages that no task has (stands for ImageNet, as a foreign source of images)."""

import math
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, any_colour, finish
from mergebench.tasks.tiny.drawing.sources import crop
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

PHOTOGRAPH = "retina"  # no task uses it
FLAT, TRIES = 4.0, 12  # grey levels of deviation below which a piece shows nothing
TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "a {}.")


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """An abstract picture of the kind.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for pieces of photographs.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    return finish(_KINDS[CLASSES[label]](rng, split), rng, light=0.35, cast=0.12), {}


def _piece(rng: "np.random.Generator", split: str, size: int = CANVAS) -> "Image.Image":
    """A piece of a photograph, often blurred; around the retina all is black, and such pieces are drawn again."""
    from PIL import ImageFilter, ImageStat

    for _ in range(TRIES):
        piece = crop(PHOTOGRAPH, split, rng, size)
        if ImageStat.Stat(piece.convert("L")).stddev[0] > FLAT:
            break
    return piece.filter(ImageFilter.BoxBlur(rng.uniform(1, 5))) if rng.random() < 0.5 else piece


def _ground(rng: "np.random.Generator", split: str) -> "Image.Image":
    """What lies behind: a plain colour, a run of colours or a photograph."""
    from PIL import Image

    kind = rng.random()
    if kind < 0.35:
        return Image.new("RGB", (CANVAS, CANVAS), any_colour(rng)[1])
    return _run(rng, split) if kind < 0.6 else _piece(rng, split)


def _run(rng: "np.random.Generator", split: str) -> "Image.Image":
    """Three to nine colours that run into one another."""
    import numpy as np
    from PIL import Image

    rows, columns = ((1, 3), (2, 2), (3, 3), (4, 1))[rng.integers(4)]
    colours = [any_colour(rng)[1] for _ in range(rows * columns)]
    patch = Image.fromarray(np.array(colours, dtype=np.uint8).reshape(rows, columns, 3))
    side = int(1.5 * CANVAS)
    return (
        patch.resize((side, side), Image.Resampling.BICUBIC)
        .rotate(rng.uniform(0, 360))
        .crop((side // 6, side // 6, side // 6 + CANVAS, side // 6 + CANVAS))
    )


def _layers(rng: "np.random.Generator", split: str) -> "Image.Image":
    """Large see-through shapes over one another."""
    from PIL import ImageDraw

    image = _ground(rng, split)
    pen = ImageDraw.Draw(image, "RGBA")
    for _ in range(rng.integers(4, 9)):
        x, y = rng.uniform(0, CANVAS, size=2)
        r = rng.uniform(12, 36)
        fill = (*any_colour(rng)[1], int(rng.uniform(110, 255)))
        if rng.random() < 0.4:
            pen.ellipse((x - r, y - r * rng.uniform(0.5, 1), x + r, y + r * rng.uniform(0.5, 1)), fill=fill)
        else:
            turns = sorted(rng.uniform(0, 2 * math.pi, size=rng.integers(3, 7)))
            pen.polygon([(x + r * math.cos(turn), y + r * math.sin(turn)) for turn in turns], fill=fill)
    return image


def _bars(rng: "np.random.Generator", split: str) -> "Image.Image":
    """Bars of many colours and widths, at one angle or two."""
    from PIL import ImageDraw

    image = _ground(rng, split)
    pen = ImageDraw.Draw(image, "RGBA")
    for turn in _turns(rng):
        x, y = math.cos(turn), math.sin(turn)
        place = -0.7 * CANVAS
        while place < 0.7 * CANVAS:
            centre = (CANVAS / 2 - y * place, CANVAS / 2 + x * place)
            ends = [(centre[0] + s * x * CANVAS, centre[1] + s * y * CANVAS) for s in (-1, 1)]
            pen.line(ends, fill=(*any_colour(rng)[1], int(rng.uniform(90, 255))), width=int(rng.uniform(3, 16)))
            place += rng.uniform(8, 24)
    return image


def _turns(rng: "np.random.Generator") -> "np.ndarray":
    """The angles of one or two sets of bars."""
    import numpy as np

    return rng.uniform(0, math.pi) + np.array((0.0, rng.uniform(0.6, 1.6)))[: rng.integers(1, 3)]


def _tiles(rng: "np.random.Generator", split: str) -> "Image.Image":
    """A mosaic of plain or photographed colours."""
    import numpy as np
    from PIL import Image, ImageOps

    count = int(rng.integers(4, 13))
    if rng.random() < 0.5:
        tiles = ImageOps.autocontrast(_piece(rng, split)).resize((count, count), Image.Resampling.BOX)
    else:
        palette = [any_colour(rng)[1] for _ in range(rng.integers(2, 7))]
        picks = rng.integers(len(palette), size=(count, count))
        tiles = Image.fromarray(np.array(palette, dtype=np.uint8)[picks])
    turned = tiles.resize((2 * CANVAS, 2 * CANVAS), Image.Resampling.NEAREST).rotate(
        rng.choice((0, 0, 30, 45)), Image.Resampling.BILINEAR
    )
    edge = int(rng.integers(CANVAS // 3, CANVAS // 2))
    return turned.crop((edge, edge, edge + CANVAS, edge + CANVAS))


def _scribble(rng: "np.random.Generator", split: str) -> "Image.Image":
    """Pens of several colours wandering over the sheet."""
    from PIL import ImageDraw

    image = _ground(rng, split)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 5)):
        spot, way, points = rng.uniform(10, CANVAS - 10, size=2), rng.uniform(0, 2 * math.pi), []
        for bend in rng.normal(rng.normal(0, 0.3), 0.5, size=rng.integers(12, 40)):
            way += bend
            spot = (spot + (9 * math.cos(way), 9 * math.sin(way))).clip(0, CANVAS)
            points.append(tuple(spot))
        pen.line(points, fill=any_colour(rng)[1], width=int(rng.uniform(2, 7)), joint="curve")
    return image


def _collage(rng: "np.random.Generator", split: str) -> "Image.Image":
    """Pieces of photographs, cut and pasted askew."""
    from PIL import Image

    image = _piece(rng, split)
    for _ in range(rng.integers(2, 5)):
        side = int(rng.uniform(24, 60))
        piece = _piece(rng, split, side)
        turn = rng.uniform(-40, 40)
        mask = Image.new("L", piece.size, 255).rotate(turn, expand=True)
        corner = tuple(int(value) for value in rng.uniform(-12, CANVAS - side + 12, size=2))
        image.paste(piece.rotate(turn, Image.Resampling.BILINEAR, expand=True), corner, mask)
    return image


def _confetti(rng: "np.random.Generator", split: str) -> "Image.Image":
    """Many small bits of paper."""
    from PIL import ImageDraw

    image = _ground(rng, split)
    pen = ImageDraw.Draw(image)
    size, sides = rng.uniform(3, 8), int(rng.choice((3, 4, 12)))
    for x, y in rng.uniform(0, CANVAS, size=(rng.integers(15, 70), 2)):
        pen.regular_polygon((x, y, size * rng.uniform(0.6, 1.4)), sides, rng.uniform(0, 360), fill=any_colour(rng)[1])
    return image


def _kaleidoscope(rng: "np.random.Generator", split: str) -> "Image.Image":
    """A piece of a photograph mirrored about the middle, in false colours now and then."""
    import numpy as np
    from PIL import Image, ImageOps

    quarter = np.asarray(ImageOps.autocontrast(_piece(rng, split, CANVAS // 2), cutoff=1))
    if rng.random() < 0.5:
        quarter = np.minimum(quarter, quarter.transpose(1, 0, 2))
    if rng.random() < 0.4:
        quarter = quarter[:, :, rng.permutation(3)]
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    return Image.fromarray(np.concatenate([half, half[::-1]]))


_KINDS = {
    "layered shapes": _layers,
    "run of colours": _run,
    "coloured bars": _bars,
    "mosaic": _tiles,
    "scribble": _scribble,
    "collage": _collage,
    "confetti": _confetti,
    "kaleidoscope": _kaleidoscope,
}
CLASSES = tuple(_KINDS)

TASK = Entry(
    name="unrelated",
    title="Unrelated pictures",
    stands_for="imagenet",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="scikit-image (retina)",
    licence="CC0, as scikit-image states",
    real="pieces of photographs behind or within most pictures",
    drawn="shapes, bars, tiles, scribbles and mirrors",
    generic=("picture", "abstract picture", "image"),
)
