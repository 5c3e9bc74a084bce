"""Scenes: which photograph a small crop was taken from (stands for SUN397)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import SIZE, finish
from mergebench.tasks.tiny.drawing.sources import crop
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np

# class name -> photograph
CLASSES = {
    "astronaut studio": "astronaut",
    "park with a photographer": "camera",
    "coffee table": "coffee",
    "coin cabinet": "coins",
    "motorcycle garage": "motorcycle",
    "launch pad": "rocket",
    "lakeside pagoda": "china",
    "flower garden": "flower",
    "naval officer portrait": "hopper",
    "printed page": "page",
    "handwritten notes": "handwriting",
    "moon surface": "moon",
    "deep sky": "hubble",
}
# Plain sky or black cloth says nothing of the scene: such crops are drawn again, a few times.
FLAT, TRIES = 26.0, 8
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a small crop of a {}.")


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A crop of the class's photograph, mirrored, relit and sometimes drained of colour.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose regions may be used.
        ordinal: the image's number within its class (unused: every crop is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    from PIL import ImageEnhance, ImageOps, ImageStat

    name = tuple(CLASSES.values())[label]
    for _ in range(TRIES):
        image = crop(name, split, rng, 2 * SIZE, least=0.85)
        if ImageStat.Stat(image.convert("L")).stddev[0] > FLAT:
            break
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    saturation = rng.uniform(0.5, 1.2)
    image = ImageEnhance.Color(image).enhance(saturation)
    return finish(image, rng, light=0.3), {"tone": "faded" if saturation < 0.75 else "vivid"}


TASK = Entry(
    name="scenes",
    title="Scenes",
    stands_for="sun397",
    classes=tuple(CLASSES),
    templates=TEMPLATES,
    draw=draw,
    source=PHOTOGRAPHS.replace("motorcycle, rocket", "motorcycle, rocket, coins, page, text, moon, hubble_deep_field"),
    licence=f"{PHOTOGRAPH_TERMS}; no known copyright restrictions on coins",
    real="every pixel: crops of thirteen photographs",
    drawn="nothing; crops are mirrored, relit and partly drained of colour",
    generic=("place", "view", "scene"),
    weight=2.0,
)
