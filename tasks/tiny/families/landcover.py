"""Land cover: false-colour satellite pixels over a real elevation model (stands for EuroSAT)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import SIZE
from mergebench.tasks.tiny.drawing.sources import crop, elevation, window
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np

CLASSES = (
    "forest",
    "pasture",
    "annual crops",
    "orchards",
    "scrub",
    "residential area",
    "industrial area",
    "highway",
    "river",
    "lake",
    "bare mountains",
)
TEMPLATES = ("a centered satellite photo of {}.", "a satellite image of {}.", "a false colour image of {}.")

GRID = 64  # rendered at twice the final size
# As infra-red film shows them: plants red, water nearly black, towns blue-grey, soil tan.
RED, PINK, TAN, WATER, TOWN, CYAN, WHITE = (
    (150, 25, 40), (225, 95, 115), (190, 160, 125), (12, 20, 48), (120, 140, 155), (95, 190, 200), (235, 240, 240)
)  # fmt: skip


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """Terrain from a piece of the elevation model under one kind of land cover.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions of the elevation model and of the ground photographs may be used.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np

    height, slope = _terrain(split, rng)
    name = CLASSES[label]
    pixels = _COVERS[label](rng, height, split)
    relief = {"forest": 1.0, "scrub": 1.0, "bare mountains": 1.4}.get(name, 0.4)
    pixels = pixels * (1 + relief * slope[:, :, None])
    pixels = pixels.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    pixels = pixels * rng.uniform(0.75, 1.25) * rng.uniform(0.88, 1.12, size=3) + rng.uniform(-15, 25)
    pixels += rng.uniform(0, 6) * rng.standard_normal(pixels.shape)
    image = np.rot90(np.clip(pixels, 0, 255).astype(np.uint8), rng.integers(4))
    return np.ascontiguousarray(image), {"relief": "hilly" if slope.std() > 0.22 else "flat"}


def _terrain(split: str, rng: "np.random.Generator") -> tuple["np.ndarray", "np.ndarray"]:
    """Elevation scaled to [0, 1] and its hill shade in about [-0.5, 0.5], both [64, 64]."""
    import numpy as np
    from PIL import Image

    piece = Image.fromarray(elevation()).crop(window("elevation", split, rng, least=0.6))
    height = np.asarray(piece.resize((GRID, GRID), Image.Resampling.BICUBIC))
    height = (height - height.min()) / (np.ptp(height) + 1e-6)
    down, right = np.gradient(height)
    sun = rng.uniform(0, 2 * np.pi)
    return height, np.clip(6 * (np.cos(sun) * right + np.sin(sun) * down), -0.6, 0.6)


def _texture(name: str, split: str, rng: "np.random.Generator") -> "np.ndarray":
    """A photographed ground as contrast about 1, [64, 64, 1]."""
    import numpy as np

    grey = np.asarray(crop(name, split, rng, GRID, least=0.8).convert("L"), dtype=np.float32)
    return (grey / grey.mean())[:, :, None]


def _fill(*colours: tuple[int, int, int], share: "np.ndarray | float" = 0.0) -> "np.ndarray":
    """One colour, or a mixture of two by `share` of the second [64, 64]."""
    import numpy as np

    base = np.broadcast_to(np.asarray(colours[0], dtype=np.float32), (GRID, GRID, 3)).copy()
    if len(colours) == 2:
        weight = np.asarray(share, dtype=np.float32)[..., None]
        base = base * (1 - weight) + weight * np.asarray(colours[1], dtype=np.float32)
    return base


def _axes(rng: "np.random.Generator") -> tuple["np.ndarray", "np.ndarray"]:
    """Coordinates in pixels, turned by a random angle about a random origin."""
    import numpy as np

    y, x = np.mgrid[:GRID, :GRID].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u = np.cos(angle) * x + np.sin(angle) * y + rng.uniform(0, GRID)
    v = -np.sin(angle) * x + np.cos(angle) * y + rng.uniform(GRID, 2 * GRID)
    return u, v


def _fields(rng: "np.random.Generator", width: float, palette: tuple, jitter: float) -> "np.ndarray":
    """Rectangular fields, each in a colour of the palette."""
    import numpy as np

    u, v = _axes(rng)
    columns = np.floor(u / width).astype(int)
    rows = np.floor(v / (width * rng.uniform(0.5, 1.0)) + 0.37 * columns).astype(int)
    numbers = (columns * 31 + rows * 17) % 64
    colours = np.asarray(palette, dtype=np.float32)[rng.integers(len(palette), size=64)]
    colours = colours * rng.uniform(1 - jitter, 1 + jitter, size=(64, 1))
    return colours[numbers]


def _forest(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    return _fill(RED) * _texture("grass", split, rng) * 0.9


def _pasture(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    return _fields(rng, rng.uniform(40, 60), (PINK,), 0.12) * (0.8 + 0.2 * _texture("grass", split, rng))


def _crops(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    return _fields(rng, rng.uniform(14, 26), (RED, PINK, TAN, CYAN, TAN), 0.25)


def _orchards(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    pitch = rng.uniform(5.5, 8)
    trees = (np.sin(2 * np.pi * u / pitch) + np.sin(2 * np.pi * v / pitch) > 0.2).astype(np.float32)
    return _fill(TAN, RED, share=0.9 * trees)


def _scrub(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    share = np.clip(1.6 * (_texture("gravel", split, rng)[:, :, 0] - 0.7), 0, 1)
    return _fill((150, 80, 75), TAN, share=share)


def _residential(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    block, lot = rng.uniform(20, 28), rng.uniform(6, 8)
    image = _fill(PINK, TOWN, share=0.55)
    roofs = rng.uniform(0.6, 1.6, size=64)[(np.floor(u / lot) * 13 + np.floor(v / lot) * 7).astype(int) % 64]
    house = ((u % lot) < 0.65 * lot) & ((v % lot) < 0.65 * lot)
    image[house] = np.asarray(TOWN) * roofs[house][:, None]
    street = ((u % block) < 3.5) | ((v % (1.4 * block)) < 3.5)
    image[street] = (175, 185, 195)
    return image


def _industrial(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    u, v = _axes(rng)
    hall = rng.uniform(22, 32)
    image = _fill(TOWN) * rng.uniform(0.7, 1.0)
    tones = rng.integers(3, size=64)[(np.floor(u / hall) * 13 + np.floor(v / (0.7 * hall)) * 7).astype(int) % 64]
    roof = ((u % hall) < 0.78 * hall) & ((v % (0.7 * hall)) < 0.7 * 0.72 * hall)
    image[roof] = np.asarray((WHITE, CYAN, (205, 215, 225)))[tones[roof]]
    return image


def _highway(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    image = _fields(rng, rng.uniform(30, 50), (PINK, TAN, RED), 0.15)
    u, v = _axes(rng)
    off = v - 1.5 * GRID - rng.uniform(-10, 10) + rng.uniform(-0.004, 0.004) * (u - GRID / 2) ** 2
    centre = off - np.median(off) + rng.uniform(-8, 8)
    image[np.abs(centre) < rng.uniform(4, 6)] = (200, 215, 225)
    image[np.abs(centre) < 1.2] = (95, 105, 115)
    return image


def _river(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    image = _fields(rng, rng.uniform(30, 50), (PINK, RED, TAN), 0.15)
    u, v = _axes(rng)
    course = v - np.median(v) + rng.uniform(5, 12) * np.sin(u / rng.uniform(6, 12)) + 10 * (height - height.mean())
    width = rng.uniform(3, 6)
    image[np.abs(course) < width + 1.5] = (165, 150, 130)
    image[np.abs(course) < width] = WATER
    return image


def _lake(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    land = _fill(RED, TAN, share=0.6 * height) * _texture("grass", split, rng)
    level = np.quantile(height, rng.uniform(0.55, 0.95))
    land[height < level] = np.asarray(WATER) * rng.uniform(0.7, 1.6)
    return land


def _mountains(rng: "np.random.Generator", height: "np.ndarray", split: str) -> "np.ndarray":
    import numpy as np

    image = _fill((120, 115, 118), (165, 150, 140), share=height)
    image[height > np.quantile(height, rng.uniform(0.6, 0.95))] = WHITE
    return image


_COVERS = (
    _forest,
    _pasture,
    _crops,
    _orchards,
    _scrub,
    _residential,
    _industrial,
    _highway,
    _river,
    _lake,
    _mountains,
)


TASK = Entry(
    name="landcover",
    title="Land cover",
    stands_for="eurosat",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="matplotlib (jacksboro_fault_dem elevation model), scikit-image (grass, gravel)",
    licence="elevation model: the package states none; photographs: CC0",
    real="the terrain's relief, shores and textures",
    drawn="fields, streets, halls and the false-colour palette",
    generic=("land from space", "satellite picture", "landscape"),
    named=("{} from space", "{} in a satellite image", "{}"),
    weight=0.5,
)
