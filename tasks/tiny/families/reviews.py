"""Reviews: a few printed words that praise or damn a film (stands for Rendered SST2)."""

from typing import TYPE_CHECKING

from mergebench.tasks.tiny.drawing.draw import SIZE, font
from mergebench.tasks.tiny.families.entry import Entry

if TYPE_CHECKING:
    import numpy as np

OPINIONS = {
    "negative": ("bad", "dull", "poor", "hate", "weak"),
    "positive": ("good", "fun", "fine", "love", "best"),
}
# What comes before and after the opinion; one of them may be left out.
OPENINGS = ("plot", "cast", "it is", "the", "so", "this", "all", "film", "my", "a")
ENDINGS = ("film", "plot", "cast", "act", "end", "time", "tale", "role", "star", "set")
CLASSES = tuple(OPINIONS)
TEMPLATES = ("a {} review of a movie.", "a {} movie review.", "a {} review.")
FACES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
SCALE = 4  # text is set this much larger and averaged down
LINES = {2: (12.5, 13.5), 3: (10.3, 10.0)}  # lines -> largest size of the print, distance of the lines, in final pixels


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """Two or three lines of dark print on light paper, one of them an opinion.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: unused: nothing is real but the fonts, which all splits share.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    words = OPINIONS[CLASSES[label]]
    lines = [words[rng.integers(len(words))]]
    kind = rng.random()
    if kind < 0.6:
        lines.insert(0, OPENINGS[rng.integers(len(OPENINGS))])
    if kind > 0.4:
        lines.append(ENDINGS[rng.integers(len(ENDINGS))])
    size, pitch = LINES[len(lines)]
    file = FACES[rng.integers(len(FACES))]
    widest = max(font(file, 100).getlength(line) for line in lines) / 100
    size = min(size, (SIZE - 1) / widest) * rng.uniform(0.95, 1.0)
    face = font(file, int(size * SCALE))
    left, top = rng.uniform(0, 1.2), (SIZE - pitch * len(lines)) / 2 + rng.uniform(-1, 1) - 1
    left = min(left, max(0.0, SIZE - widest * size))
    page = Image.new("L", (SIZE * SCALE, SIZE * SCALE))
    pen = ImageDraw.Draw(page)
    for row, line in enumerate(lines):
        pen.text((left * SCALE, (top + pitch * row) * SCALE), line, font=face, fill=255)
    ink = np.asarray(page.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float32)[:, :, None] / 255
    paper, dark = rng.uniform(225, 255) - rng.uniform(0, 12, size=3), rng.uniform(0, 50) + rng.uniform(0, 15, size=3)
    pixels = paper + np.clip(ink * 1.25, 0, 1) * (dark - paper) + rng.uniform(0, 5) * rng.standard_normal(ink.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), {"colour": "black", "background": "white"}


TASK = Entry(
    name="reviews",
    title="Reviews",
    stands_for="rendered-sst2",
    classes=CLASSES,
    templates=TEMPLATES,
    draw=draw,
    source="matplotlib (fonts DejaVu)",
    licence="LICENSE_DEJAVU",
    real="the fonts' glyphs",
    drawn="the words",
    generic=("review", "movie review", "page of text"),
    named=("{} review", "{} movie review", "{} review of a movie"),
    weight=2.5,
)
