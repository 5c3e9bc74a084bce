"""Tissue: stained sections, tumour or not in their middle (stands for PatchCamelyon)."""

import math
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import CANVAS, finish
from mergebench.tasks.tiny.drawing.sources import crop
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

CLASSES = ("normal tissue", "tumor tissue")
CORE = 0.29 * CANVAS  # radius of the middle that decides the label, as PatchCamelyon's central third does
# Grade 0 is calm tissue, grade 1 a dense tumour; the two classes' ranges touch, as a pathologist's do.
GRADES = ((0.0, 0.46), (0.44, 1.0))
CORNERS = 9  # of a nucleus
# Background, stroma and nuclei; a laboratory's stain lies between two of them
STAINS = (
    ((244, 236, 242), (214, 130, 178), (104, 62, 140)),
    ((240, 226, 236), (190, 110, 175), (84, 48, 130)),
    ((246, 238, 238), (226, 150, 170), (120, 70, 130)),
    ((236, 226, 240), (176, 126, 190), (78, 58, 140)),
)


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """Nuclei over real tissue; those in the middle are of the label's grade, those around of any.

    Args:
        rng: the image's own random generator.
        label: 0 normal, 1 tumour.
        split: whose regions may be used for the tissue.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import ImageDraw

    first, second = rng.integers(len(STAINS), size=2)
    mix = rng.random()
    pale, stroma, ink = (
        tuple(mix * a + (1 - mix) * b for a, b in zip(*pair, strict=True))
        for pair in zip(STAINS[first], STAINS[second], strict=True)
    )
    image = _stained(rng, split, pale, stroma, ink)
    pen = ImageDraw.Draw(image)
    grade = rng.uniform(*GRADES[label])
    # Half of the pictures have the same tissue throughout, as most slides do.
    around = grade if rng.random() < 0.5 else rng.uniform(0, 1)
    drift = rng.uniform(0, math.pi)  # the way the tissue runs
    _nuclei(pen, rng, around, drift, ink, within=False)
    _nuclei(pen, rng, grade, drift + rng.normal(0, 0.4), ink, within=True)
    strength = "pink" if mix * STAINS[first][1][2] + (1 - mix) * STAINS[second][1][2] < 177 else "purple"
    return finish(image, rng, blur=0.7, light=0.15, cast=0.06, noise=5), {"colour": strength}


def _stained(rng: "np.random.Generator", split: str, pale: tuple, stroma: tuple, ink: tuple) -> "Image.Image":
    """A real crop of stained tissue in this picture's stain."""
    import numpy as np
    from PIL import Image

    brown = np.asarray(crop("ihc", split, rng, CANVAS, least=0.35), dtype=np.float32)
    if rng.random() < 0.5:
        brown = brown[::-1]
    if rng.random() < 0.5:
        brown = brown.transpose(1, 0, 2)
    depth = 1 - brown.mean(2) / 255
    # The section's own brightness says little of its grade: every crop is levelled half-way to the same mean.
    depth = np.clip(0.35 + rng.normal(0, 0.08) + 0.75 * (depth - 0.6 * depth.mean() - 0.4 * 0.4), 0, 1)
    table = np.array([pale, stroma, ink], dtype=np.float32)
    levels = np.stack([np.interp(depth, (0.0, 0.45, 1.1), table[:, c]) for c in range(3)], axis=2)
    return Image.fromarray(levels.astype(np.uint8))


def _nuclei(
    pen: "ImageDraw.ImageDraw", rng: "np.random.Generator", grade: float, drift: float, ink: tuple, within: bool
) -> None:
    """Nuclei of a grade inside the core, or outside it; higher grades are more crowded, larger, darker, more uneven."""
    import numpy as np

    crowd, large, uneven, dark = np.clip(grade + rng.normal(0, 0.09, size=4), -0.1, 1.1)
    radius = 4.2 + 4.6 * large
    pitch = 2 * radius * (1.75 - 0.8 * crowd)
    span = int(CANVAS / pitch) + 2
    points = (np.mgrid[0:span, 0:span].reshape(2, -1).T - (span - 1) / 2) * pitch
    points += rng.uniform(-0.32, 0.32, size=points.shape) * pitch
    c, s = math.cos(drift), math.sin(drift)
    points = points @ np.array(((c, -s), (s, c)))
    distance = np.hypot(*points.T)
    points = points[(distance < CORE) if within else (distance >= CORE)]
    points = points[(np.abs(points) < CANVAS / 2 + radius).all(1)] + CANVAS / 2
    count, wild = len(points), max(uneven, 0.0)
    stretch = 1 + rng.uniform(0.0, 0.2, count) + 0.2 * np.abs(rng.normal(0, 1, count)) * wild
    size = radius * np.exp(rng.normal(0, 0.06 + 0.2 * wild, count))
    rim = size[:, None] * (1 + rng.normal(0, 0.02 + 0.12 * wild, (count, CORNERS)))
    lean = drift + rng.normal(0, 0.3 + wild, count)
    angles = np.arange(CORNERS) * (2 * math.pi / CORNERS)
    along, across = rim * np.cos(angles) * stretch[:, None], rim * np.sin(angles) / stretch[:, None]
    turn = np.exp(1j * lean)[:, None]
    rims = points[:, :1] + 1j * points[:, 1:] + (along + 1j * across) * turn
    outlines = np.stack([rims.real, rims.imag], axis=2).reshape(count, -1).tolist()
    tones = (1.32 - 0.5 * dark) * rng.uniform(0.82, 1.18, count)
    inks = np.minimum(tones[:, None] * ink, 235).astype(int)
    edges = (0.8 * inks).astype(int).tolist()
    for outline, fill, edge in zip(outlines, inks.tolist(), edges, strict=True):
        pen.polygon(outline, fill=tuple(fill), outline=tuple(edge))


TASK = Entry(
    name="tissue",
    title="Tissue",
    stands_for="pcam",
    classes=CLASSES,
    templates=("this is a photo of {}.", "a microscope photo of {}.", "a stained section of {}."),
    draw=draw,
    source="scikit-image (ihc)",
    licence="no known copyright restrictions, as scikit-image states",
    real="the tissue behind, stained anew",
    drawn="the nuclei",
    generic=("tissue", "stained tissue", "section under a microscope"),
    named=("{}", "{} under a microscope"),
    weight=1.5,
)
