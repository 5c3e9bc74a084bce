"""Spatter: drops of water, or spots of mud, on the lens."""

from typing import TYPE_CHECKING

from mergebench.data.corruption import Corruption
from mergebench.tasks.corruptions.edges import canny
from mergebench.tasks.corruptions.pixels import as_bytes
from mergebench.tasks.corruptions.severities import strength

if TYPE_CHECKING:
    import numpy as np

WATER = (175, 238, 238)  # pale turquoise
MUD = (63, 42, 20)  # brown
SOLID = 0.8  # mud thinner than this is no mud
FARTHEST = 20  # pixels; distances to a drop's edge count up to it
LIGHT = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))  # a relief lit from the lower right


def spatter(image: "np.ndarray", severity: int, rng: "np.random.Generator") -> "np.ndarray":
    """Blurred normal noise above a threshold is liquid: water is added to the image as light, mud covers it.

    Made with scipy where the released code uses OpenCV. Distances to the edges of drops are exact here and approximate
    there, which changes the shade of water; where no water falls the image stays as it is (there the layer is divided
    by zero).
    """
    import numpy as np
    from scipy import ndimage

    c = strength("spatter", image, severity)
    noise = c.mean + c.deviation * rng.standard_normal(image.shape[:2])
    liquid = ndimage.gaussian_filter(noise, c.sigma, mode="nearest")
    liquid[liquid < c.threshold] = 0
    if c.mud:
        cover = ndimage.gaussian_filter((liquid > c.threshold).astype(np.float64), c.last, mode="nearest")
        cover[cover < SOLID] = 0
        cover = cover[..., None]
        return as_bytes((1 - cover) * image + cover * np.array(MUD))
    shade = _water(np.clip(255 * liquid, 0, 255).astype(np.uint8))
    return as_bytes(image + c.last * shade[..., None] * np.array(WATER))


def _water(liquid: "np.ndarray") -> "np.ndarray":
    """How much light each pixel of a liquid layer (uint8 [H, W], 0: none) reflects: [H, W] from 0 to 1.

    A drop is as high as its pixels are far from its edges; the heights are equalised over the image, lit from one side,
    smoothed, and weighted with the liquid.
    """
    import numpy as np
    from scipy import ndimage

    edges = canny(liquid, 50, 150)
    # Without an edge nothing is near one; scipy would measure to a point that does not exist.
    far = ndimage.distance_transform_edt(~edges) if edges.any() else np.full(liquid.shape, np.inf)
    height = _smoothed(np.minimum(far, FARTHEST)).astype(np.uint8)
    lit = ndimage.correlate(_equalised(height), np.array(LIGHT), mode="mirror").clip(0, 255)
    light = liquid * np.rint(_smoothed(lit))
    return light / max(light.max(), 1)


def _smoothed(values: "np.ndarray") -> "np.ndarray":
    """Means over 3x3 pixels. Summed first and divided once, so that a mean that is whole does not fall short of it."""
    import numpy as np
    from scipy import ndimage

    return ndimage.correlate(values.astype(np.float64), np.ones((3, 3)), mode="mirror") / 9


def _equalised(levels: "np.ndarray") -> "np.ndarray":
    """Levels 0 to 255 spread evenly: 255 times the share of pixels at or below a level, the lowest level's left out."""
    import numpy as np

    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = counts[levels.min()]
    if lowest == levels.size:
        return levels.astype(np.int64)
    spread = np.rint(255 * (np.cumsum(counts) - lowest) / (levels.size - lowest))
    return spread.astype(np.int64)[levels]


SPATTER = Corruption(
    "spatter",
    "Spatter",
    "blurred N(m, d^2) above a threshold: light of water added, or mud a covers: (1 - a) x + a mud (arXiv:1903.12261)",
    spatter,
)
