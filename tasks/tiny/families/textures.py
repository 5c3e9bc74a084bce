"""Textures: describable patterns, photographed or woven from a photograph's colours (stands for DTD)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import SIZE
from mergebench.tasks.tiny.drawing.sources import backdrop, crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np

CLASSES = (
    "bricked",
    "grassy",
    "gravelly",
    "striped",
    "dotted",
    "chequered",
    "zigzagged",
    "woven",
    "cracked",
    "marbled",
    "honeycombed",
    "gridded",
    "scaly",
    "swirly",
    "blotchy",
)
TEMPLATES = ("a photo of a {} texture.", "a {} pattern.", "a photo of a {} thing.")

GRID = 64  # rendered at twice the final size
COARSE = 1.35  # pixels to a unit of the drawn patterns: finer ones are lost on tokens of eight pixels
CONTRAST = 100  # least difference of the two colours, in grey levels
PHOTOGRAPHED = {"bricked": "brick", "grassy": "grass", "gravelly": "gravel"}


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A pattern of the class in two colours of a photograph under uneven light.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used for the photographed textures and for the colours.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np

    name = CLASSES[label]
    if name in PHOTOGRAPHED:
        share = np.asarray(crop(PHOTOGRAPHED[name], split, rng, GRID, least=0.85).convert("L"), dtype=np.float32) / 255
        share = np.rot90(np.clip((share - share.mean()) * rng.uniform(0.8, 1.6) + 0.5, 0, 1), rng.integers(2))
    else:
        share = np.clip(_PATTERNS[name](rng), 0, 1)
    dark, bright = _two_colours(split, rng)
    if rng.random() < 0.5:
        share = 1 - share
    pixels = dark + share[:, :, None] * (bright - dark)
    y, x = np.mgrid[-1 : 1 : GRID * 1j, -1 : 1 : GRID * 1j]
    light = 1 + rng.uniform(-0.3, 0.3) * x + rng.uniform(-0.3, 0.3) * y
    pixels = (pixels * light[:, :, None]).reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    pixels += rng.uniform(0, 8) * rng.standard_normal(pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), {"tone": "dark" if pixels.mean() < 100 else "bright"}


def _two_colours(split: str, rng: "np.random.Generator") -> tuple["np.ndarray", "np.ndarray"]:
    """The darkest and the brightest of some pixels of a photograph, at least `CONTRAST` grey levels apart."""
    import numpy as np

    pixels = np.asarray(backdrop(split, rng, 8), dtype=np.float32).reshape(-1, 3)
    order = pixels.mean(1).argsort()
    dark, bright = pixels[order[rng.integers(8)]], pixels[order[-1 - rng.integers(8)]]
    missing = max(0.0, CONTRAST - (bright.mean() - dark.mean())) / 2
    return np.clip(dark - missing, 0, 255), np.clip(bright + missing, 0, 255)


def _axes(rng: "np.random.Generator", steep: float = 0.8) -> tuple["np.ndarray", "np.ndarray"]:
    """Coordinates in units of `COARSE` pixels, turned by up to `steep` radians, shifted at random."""
    import numpy as np

    y, x = np.mgrid[:GRID, :GRID].astype(np.float32) / COARSE
    angle = rng.uniform(0, steep)
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y + rng.uniform(0, 100), -sin * x + cos * y + rng.uniform(0, 100)


def _soft(values: "np.ndarray", sharpness: float = 3.0) -> "np.ndarray":
    """A wave made into a band with soft edges, 0-1."""
    import numpy as np

    return 1 / (1 + np.exp(-sharpness * values))


def _noise(rng: "np.random.Generator", cells: int) -> "np.ndarray":
    """Smooth noise with about `cells` bumps along a side, mean 0, variance 1, [64, 64]."""
    import numpy as np
    from PIL import Image

    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    smooth = np.asarray(coarse.resize((GRID, GRID), Image.Resampling.BICUBIC))
    return (smooth - smooth.mean()) / (smooth.std() + 1e-6)


def _nearest(points: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """Distances of every pixel to its nearest and second-nearest point, in pixels."""
    import numpy as np

    y, x = np.mgrid[:GRID, :GRID].astype(np.float32)
    distances = np.sqrt((x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2)
    two = np.partition(distances, 1, axis=-1)
    return two[..., 0], two[..., 1]


def _striped(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, _ = _axes(rng)
    return _soft(np.sin(2 * np.pi * u / rng.uniform(9, 22)) - rng.uniform(-0.4, 0.4), 4)


def _dotted(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    pitch = rng.uniform(12, 22)
    u = u + (np.floor(v / pitch) % 2) * pitch / 2
    distance = np.hypot(u % pitch - pitch / 2, v % pitch - pitch / 2)
    return _soft(pitch * rng.uniform(0.22, 0.36) - distance, 1.5)


def _chequered(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    pitch = rng.uniform(14, 28)
    return _soft(np.sin(2 * np.pi * u / pitch) * np.sin(2 * np.pi * v / pitch), 8)


def _zigzagged(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    period = rng.uniform(14, 26)
    fold = np.abs(v % period - period / 2) * rng.uniform(0.8, 1.4)
    return _soft(np.sin(2 * np.pi * (u + fold) / rng.uniform(11, 18)), 4)


def _woven(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    pitch = rng.uniform(10, 16)
    over = (np.floor(u / pitch) + np.floor(v / pitch)) % 2
    across, along = np.abs(np.sin(np.pi * u / pitch)), np.abs(np.sin(np.pi * v / pitch))
    return np.where(over > 0, across, along * 0.8)


def _cracked(rng: "np.random.Generator") -> "np.ndarray":
    first, second = _nearest(rng.uniform(0, GRID, size=(int(rng.integers(6, 13)), 2)))
    return _soft(second - first - rng.uniform(1.5, 3.0), 1.2) * (0.85 + 0.08 * _noise(rng, 16))


def _marbled(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, _ = _axes(rng)
    return np.abs(np.sin(u / rng.uniform(6, 12) + 1.6 * _noise(rng, 4) + 0.5 * _noise(rng, 9))) ** 0.6


def _honeycombed(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    pitch, angle = rng.uniform(16, 24), rng.uniform(0, np.pi)
    row, column = (index.ravel() for index in np.mgrid[-5:6, -5:6])
    x, y = pitch * (column + 0.5 * (row % 2)), pitch * 0.866 * row
    centres = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=1)
    first, second = _nearest(centres + GRID / 2 + rng.uniform(-pitch / 2, pitch / 2, size=2))
    return _soft(second - first - rng.uniform(1.5, 3.0), 1.5)


def _gridded(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    pitch, width = rng.uniform(12, 22), rng.uniform(1.2, 2.4)
    return _soft(width - np.minimum(np.abs(u % pitch - pitch / 2), np.abs(v % pitch - pitch / 2)), 2)


def _scaly(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng, steep=0.5)
    pitch = rng.uniform(13, 22)
    row = np.floor(v / (pitch / 2))
    across = (u + (row % 2) * pitch / 2) % pitch - pitch / 2
    return np.clip(np.hypot(across, v % (pitch / 2)) / (0.62 * pitch), 0, 1) ** 1.5


def _swirly(rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    y, x = np.mgrid[:GRID, :GRID].astype(np.float32)
    x, y = x - rng.uniform(16, 48), y - rng.uniform(16, 48)
    turns = rng.uniform(0.25, 0.5) * (1 if rng.random() < 0.5 else -1)
    return _soft(np.sin(rng.integers(1, 4) * np.arctan2(y, x) + turns * np.hypot(x, y)), 3)


def _blotchy(rng: "np.random.Generator") -> "np.ndarray":
    return 0.5 + 0.22 * _noise(rng, 4) + 0.12 * _noise(rng, 8)


_PATTERNS = {
    "striped": _striped,
    "dotted": _dotted,
    "chequered": _chequered,
    "zigzagged": _zigzagged,
    "woven": _woven,
    "cracked": _cracked,
    "marbled": _marbled,
    "honeycombed": _honeycombed,
    "gridded": _gridded,
    "scaly": _scaly,
    "swirly": _swirly,
    "blotchy": _blotchy,
}


TASK = Entry(
    name="textures",
    title="Textures",
    stands_for="dtd",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source=f"scikit-image (brick, grass, gravel); colours of {PHOTOGRAPHS}",
    licence=PHOTOGRAPH_TERMS,
    real="brick, grass and gravel; every colour",
    drawn="the other twelve patterns",
    generic=("pattern", "texture", "surface"),
    named=("{} texture", "{} pattern", "{} surface"),
    weight=3.0,
)
