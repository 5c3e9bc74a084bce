"""Faces: seven expressions in grey close-ups, drawn over the light of real faces (stands for FER2013)."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mergebench.tasks.tiny.drawing.draw import CANVAS, finish, layer, tilt
from mergebench.tasks.tiny.drawing.sources import backdrop, package_file
from mergebench.tasks.tiny.families.entry import PHOTOGRAPH_TERMS, PHOTOGRAPHS, Entry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw


class Look(NamedTuple):
    """Where an expression moves the features; one unit is about a tenth of the face, y down.

    Args:
        inner, outer: how far the brows' ends near the nose and near the temples sink (negative: rise).
        lids: opening of the eyes, 1 at rest.
        corners: how far the mouth's corners sink below its middle (negative: a smile).
        gape: opening of the mouth.
        width: the mouth's width, 1 at rest.
        teeth: whether an open mouth shows teeth.
        fold: strength of the wrinkles at the nose, 0-1.
    """

    inner: float
    outer: float
    lids: float
    corners: float
    gape: float
    width: float
    teeth: bool
    fold: float


# Some expressions have two looks: a closed and an open mouth.
LOOKS = {
    "angry": (Look(0.9, -0.7, 0.75, 0.35, 0.0, 0.85, False, 0.5), Look(0.95, -0.7, 0.8, 0.3, 0.7, 0.95, True, 0.5)),
    "disgusted": (Look(0.45, 0.15, 0.4, 0.65, 0.35, 0.8, False, 1.0), Look(0.5, 0.2, 0.35, 0.5, 0.5, 0.75, True, 1.0)),
    "fearful": (Look(-0.9, 0.1, 1.55, 0.35, 0.7, 1.2, True, 0.0), Look(-0.9, 0.0, 1.6, 0.3, 0.9, 1.1, False, 0.0)),
    "happy": (Look(-0.1, 0.1, 0.7, -0.8, 0.15, 1.3, True, 0.0), Look(-0.1, 0.1, 0.65, -0.75, 0.75, 1.25, True, 0.0)),
    "neutral": (Look(0.0, 0.0, 1.0, 0.0, 0.0, 1.0, False, 0.0),),
    "sad": (Look(-0.65, 0.55, 0.6, 0.65, 0.0, 0.85, False, 0.0), Look(-0.7, 0.6, 0.5, 0.7, 0.1, 0.9, False, 0.1)),
    "surprised": (Look(-1.0, -0.8, 1.6, 0.0, 1.3, 0.62, False, 0.0), Look(-1.0, -0.9, 1.5, 0.0, 1.0, 0.55, False, 0.0)),
}
FACES = 100  # of skimage's 200 crops; the others show no face
BOUNDS = {"train": (0, 60), "calibration": (60, 72), "validation": (72, 80), "test": (80, 100)}


def draw(rng: "np.random.Generator", label: int, split: str, ordinal: int) -> tuple["np.ndarray", dict[str, str]]:
    """A face with the expression, its skin and light lent by a blurred photograph of another face.

    Args:
        rng: the image's own random generator.
        label: index into the classes.
        split: whose face crops and whose regions of photographs may be used.
        ordinal: the image's number within its class (unused: every drawing is new).

    Returns:
        Grey image uint8 [32, 32, 3] and facts for captions.
    """
    import numpy as np
    from PIL import Image, ImageFilter

    looks = tuple(LOOKS.values())[label]
    strength = rng.uniform(0.7, 1.15)
    skin = int(rng.uniform(95, 215))
    face = _face(looks[rng.integers(len(looks))], strength, skin, rng)
    # Turned first, then lit: the light does not follow the head.
    face = tilt(face.rotate(rng.normal(0, 7), Image.Resampling.BILINEAR), rng, 0.05, (0.92, 1.25), 0.05)
    ground = backdrop(split, rng, CANVAS).convert("L").filter(ImageFilter.BoxBlur(rng.uniform(0, 4)))
    image = Image.composite(face.getchannel("L"), ground, face.getchannel("A"))
    relief = _real_light(split, rng)
    y, x = np.mgrid[-1 : 1 : CANVAS * 1j, -1 : 1 : CANVAS * 1j]
    side = rng.uniform(-0.35, 0.35)
    lit = np.asarray(image, dtype=np.float32) * (1 + side * x - 0.1 * y) + rng.uniform(0.3, 0.8) * relief
    image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    pixels = finish(image.convert("RGB"), rng, blur=0.6, light=0.25, cast=0.0, noise=0.0).mean(2, keepdims=True)
    pixels = pixels + rng.uniform(0, 7) * rng.standard_normal(pixels.shape)
    tone = "dark" if pixels.mean() < 110 else "bright"
    return np.repeat(np.clip(pixels, 0, 255), 3, axis=2).astype(np.uint8), {"tone": tone}


@cache
def _crops(split: str) -> tuple["np.ndarray", ...]:
    """The split's real faces as deviations from their mean, in grey levels, low-passed to `CANVAS` pixels.

    Eyes and mouth are blurred away: they would contradict the drawn expression.
    """
    import numpy as np
    from PIL import Image, ImageFilter

    faces = np.load(package_file("skimage", "data/lfw_subset.npy"))[:FACES]
    order = np.random.default_rng(20240501).permutation(FACES)[slice(*BOUNDS[split])]
    smooth = []
    for face in faces[order]:
        image = Image.fromarray((255 * face).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2.2))
        pixels = np.asarray(image.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC), dtype=np.float32)
        smooth.append(pixels - pixels.mean())
    return tuple(smooth)


def _real_light(split: str, rng: "np.random.Generator") -> "np.ndarray":
    """The light of a random real face of the split, either way round, float32 [96, 96]."""
    crops = _crops(split)
    relief = crops[rng.integers(len(crops))]
    return relief[:, ::-1] if rng.random() < 0.5 else relief


def _face(look: Look, strength: float, skin: int, rng: "np.random.Generator") -> "Image.Image":
    """Head, hair and features on a transparent layer, grey."""
    from PIL import ImageDraw

    image = layer()
    pen = ImageDraw.Draw(image)
    unit = CANVAS / 10
    cx, cy = CANVAS / 2 + rng.normal(0, 1.5), 0.5 * CANVAS
    half, tall = rng.uniform(3.3, 4.1) * unit, rng.uniform(4.5, 5.1) * unit
    hair = int(rng.choice((15, 35, 60, 150, 200)) * rng.uniform(0.8, 1.2))
    style = rng.integers(4)  # bald, short, long, fringe
    if style == 2:
        pen.rounded_rectangle((cx - half - 7, cy - tall - 5, cx + half + 7, CANVAS + 20), 35, fill=_grey(hair))
    elif style:
        pen.ellipse((cx - half - 4, cy - tall - 6, cx + half + 4, cy + 0.4 * tall), fill=_grey(hair))
    neck = 0.55 * half
    pen.rectangle((cx - neck, cy + 0.6 * tall, cx + neck, CANVAS), fill=_grey(0.75 * skin))
    for way in (-1, 1):
        ear = cx + way * half
        pen.ellipse((ear - 5, cy - 8, ear + 5, cy + 9), fill=_grey(0.85 * skin))
    jaw = rng.uniform(0.55, 0.8) * half
    pen.ellipse((cx - half, cy - tall, cx + half, cy + 0.75 * tall), fill=_grey(skin))
    pen.polygon(
        [(cx - half, cy - 4), (cx + half, cy - 4), (cx + jaw, cy + 0.72 * tall), (cx + 0.4 * jaw, cy + tall),
         (cx - 0.4 * jaw, cy + tall), (cx - jaw, cy + 0.72 * tall)], fill=_grey(skin)
    )  # fmt: skip
    if style:
        line = cy - rng.uniform(0.62, 0.75) * tall
        pen.chord((cx - half, cy - tall, cx + half, 2 * line - cy + tall), 180, 360, fill=_grey(hair))

    def jitter(value: float, spread: float = 0.12) -> float:
        return strength * value + rng.normal(0, spread)

    eye_y, brow_y = cy - 0.9 * unit, cy - 2.0 * unit
    apart = rng.uniform(1.55, 1.85) * unit
    brow = int(min(hair, 0.5 * skin))
    thick = int(rng.integers(3, 7))
    lids = 1 + strength * (look.lids - 1) + rng.normal(0, 0.07)
    glasses = rng.random() < 0.12
    inner, outer = jitter(look.inner), jitter(look.outer)
    gaze = rng.normal(0, 0.18) * unit
    for way in (-1, 1):
        x = cx + way * apart
        _eye(pen, x, eye_y, unit, lids, gaze, skin)
        bend = min(inner, outer) - 0.2
        pen.line(
            [(x - way * 1.0 * unit, brow_y + inner * unit), (x, brow_y + 0.5 * (bend + 0.5 * (inner + outer)) * unit),
             (x + way * 1.15 * unit, brow_y + outer * unit)], fill=_grey(brow), width=thick, joint="curve"
        )  # fmt: skip
        if glasses:
            r = 1.2 * unit
            pen.rounded_rectangle((x - r, eye_y - 0.85 * r, x + r, eye_y + 0.85 * r), 6, outline=_grey(25), width=2)
    _nose(pen, cx, cy, unit, skin, strength * look.fold)
    gape = max(0.0, jitter(look.gape, 0.05)) if look.gape else 0.0
    size = 1 + strength * (look.width - 1) + rng.normal(0, 0.06)
    _mouth(pen, cx, cy + rng.uniform(2.35, 2.7) * unit, unit, jitter(look.corners, 0.09), gape, size, look.teeth, skin)
    return image.convert("LA")


def _grey(value: float) -> tuple[int, int, int, int]:
    level = int(min(255, max(0, value)))
    return level, level, level, 255


def _eye(pen: "ImageDraw.ImageDraw", x: float, y: float, unit: float, lids: float, gaze: float, skin: int) -> None:
    """White, iris and lid; `lids` 1 is an eye at rest."""
    wide, high = 0.85 * unit, 0.45 * unit * max(0.15, lids)
    pen.ellipse((x - wide - 2, y - high - 3, x + wide + 2, y + high + 2), fill=_grey(0.72 * skin))
    pen.ellipse((x - wide, y - high, x + wide, y + high), fill=_grey(min(250, 1.1 * skin + 40)))
    r = 0.42 * unit
    pen.ellipse((x + gaze - r, y - min(r, high), x + gaze + r, y + min(r, high)), fill=_grey(20))
    pen.arc((x - wide, y - high - 1, x + wide, y + high + 1), 180, 360, fill=_grey(0.25 * skin), width=2)


def _nose(pen: "ImageDraw.ImageDraw", cx: float, cy: float, unit: float, skin: int, fold: float) -> None:
    """A shaded ridge and nostrils; `fold` wrinkles it and draws the cheeks' folds."""
    dark = _grey((0.8 - 0.3 * fold) * skin)
    pen.polygon([(cx, cy - unit), (cx + 0.6 * unit, cy + 1.2 * unit), (cx, cy + 1.3 * unit)], fill=_grey(0.85 * skin))
    pen.line((cx - 0.6 * unit, cy + 1.3 * unit, cx + 0.6 * unit, cy + 1.3 * unit), fill=_grey(0.5 * skin), width=3)
    if fold > 0.3:
        for k in (0, 1, 2):
            y = cy - (1.1 - 0.45 * k) * unit
            pen.arc((cx - 0.7 * unit, y - 4, cx + 0.7 * unit, y + 6), 190, 350, fill=dark, width=2)
        for way in (-1, 1):
            cheek = [(cx + way * 0.7 * unit, cy + 0.6 * unit), (cx + way * 1.6 * unit, cy + 1.3 * unit),
                     (cx + way * 2.0 * unit, cy + 2.6 * unit)]  # fmt: skip
            pen.line(cheek, fill=dark, width=3, joint="curve")


def _mouth(
    pen: "ImageDraw.ImageDraw", cx: float, y: float, unit: float, corners: float, gape: float, width: float,
    teeth: bool, skin: int
) -> None:  # fmt: skip
    """Lips between two curves: corners below the middle frown, above it they smile; `gape` opens them."""
    half, steps = 1.65 * width * unit, 9
    upper, lower = [], []
    for k in range(steps):
        t = 2 * k / (steps - 1) - 1
        middle = y + corners * (t * t - 0.5) * unit
        opening = gape * (1 - abs(t) ** 2.5) * unit
        upper.append((cx + t * half, middle - 0.4 * opening))
        lower.append((cx + t * half, middle + 1.0 * opening))
    lips = _grey(0.5 * skin)
    if gape < 0.1:
        pen.line(upper, fill=_grey(0.3 * skin), width=4, joint="curve")
        return
    pen.polygon([*upper, *reversed(lower)], fill=_grey(15))
    if teeth:
        share = 0.45 if gape > 0.5 else 0.8
        bottom = [(x, a + share * (b - a)) for (x, a), (_, b) in zip(upper, lower, strict=True)]
        pen.polygon([*upper, *reversed(bottom)], fill=_grey(min(250, skin + 70)))
    pen.line(upper, fill=lips, width=3, joint="curve")
    pen.line(lower, fill=lips, width=3, joint="curve")


TASK = Entry(
    name="faces",
    title="Faces",
    stands_for="fer2013",
    classes=tuple(LOOKS),
    templates=("a photo of a {} looking face.", "a photo of a face showing a {} look.", "a {} face."),
    draw=draw,
    source=f"{PHOTOGRAPHS}; 100 faces of Labeled Faces in the Wild from scikit-image",
    licence=f"{PHOTOGRAPH_TERMS}; the package states none for the faces",
    real="backgrounds, low-passed light of real faces",
    drawn="heads, hair, expressions",
    generic=("face", "person", "portrait"),
    named=("{} face", "{} person", "{} looking face"),
    weight=1.5,
)
