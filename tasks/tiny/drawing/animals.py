"""Side views of animals, drawn from a few parts."""

from dataclasses import dataclass

from mergebench.tasks.tiny.drawing.pen import FLOOR, Pen, Point


@dataclass(frozen=True)
class Build:
    """The proportions of a four-legged animal, in half sides.

    Args:
        length: from the middle to the shoulder.
        depth: half the trunk's height at the shoulder; `waist` that at the hip.
        leg, thick: the legs' length and thickness.
        neck: from the shoulder to the head; `collar` is its thickness.
        head: the head's radii; `muzzle` how far the nose stands out.
    """

    length: float
    depth: float
    waist: float
    leg: float
    thick: float
    neck: Point
    collar: float
    head: Point
    muzzle: float


BUILDS = {
    "cat": Build(0.42, 0.2, 0.22, 0.34, 0.11, (0.22, -0.2), 0.2, (0.2, 0.18), 0.06),
    "dog": Build(0.42, 0.25, 0.18, 0.48, 0.13, (0.2, -0.34), 0.24, (0.19, 0.16), 0.25),
    "deer": Build(0.38, 0.2, 0.18, 0.72, 0.075, (0.24, -0.52), 0.15, (0.14, 0.1), 0.2),
    "horse": Build(0.45, 0.25, 0.24, 0.66, 0.11, (0.3, -0.45), 0.28, (0.15, 0.14), 0.34),
}


def _trunk(pen: Pen, build: Build) -> tuple[Point, Point]:
    """Legs, trunk, neck and head of a standing or walking animal; gives back hip and head."""
    rng = pen.rng
    y = FLOOR - build.leg - build.depth
    shoulder, hip = (build.length - 0.1, y), (-build.length - 0.1, y)
    stride = rng.uniform(0, 0.28) * build.leg**0.5
    fore, hind = shoulder[0], hip[0]
    for x, way, tone in ((fore, -1, "dark"), (hind, 1, "dark"), (fore, 1, "body"), (hind, -1, "body")):
        knee = (x + 0.6 * way * stride + 0.04, FLOOR - 0.45 * build.leg)
        pen.limb((x, shoulder[1] + 0.1), knee, (x + way * stride, FLOOR), width=build.thick, tone=tone)
    pen.limb(hip, shoulder, width=1.8 * min(build.waist, build.depth))
    pen.blob(*shoulder, build.depth, 1.1 * build.depth)
    pen.blob(*hip, build.waist, 1.1 * build.waist)
    if rng.random() < 0.5:
        pen.limb((hip[0] + 0.1, hip[1] + 0.7 * build.waist),
                 (shoulder[0], shoulder[1] + 0.7 * build.depth), width=0.35 * build.depth, tone="second")  # fmt: skip
    drop = rng.uniform(-0.08, 0.14)
    head = (shoulder[0] + build.neck[0], shoulder[1] + build.neck[1] + drop)
    pen.limb(shoulder, head, width=build.collar)
    return hip, head


def _head(pen: Pen, build: Build, head: Point, nod: float) -> None:
    """Skull, muzzle, nose and eye."""
    (x, y), (rx, ry) = head, build.head
    pen.blob(x, y, rx, ry)
    nose = (x + rx * 0.6 + build.muzzle, y + ry * 0.3 + nod * build.muzzle)
    pen.limb((x + 0.2 * rx, y + 0.15 * ry), nose, width=1.1 * ry)
    pen.blob(nose[0] + 0.3 * ry, nose[1] - 0.1 * ry, 0.045, 0.045, "dark")
    pen.blob(x + 0.45 * rx, y - 0.2 * ry, 0.04, 0.04, "dark")


def _ears(pen: Pen, x: float, y: float, apart: float, wide: float, tall: float) -> None:
    """Two pointed ears on top of a head."""
    for way in (-1, 1):
        base = x + way * apart
        pen.shape((base - wide, y), (base + wide, y), (base + way * 0.05, y - tall))


def _cat(pen: Pen) -> None:
    rng, build = pen.rng, BUILDS["cat"]
    if rng.random() < 0.3:
        return _muzzle_front(pen, pointed=True)
    if rng.random() < 0.45:  # sitting, seen from behind or the front
        pen.limb((-0.25, 0.7), (-0.7, 0.65), (-0.75, rng.uniform(-0.1, 0.4)), width=0.12)
        pen.shape((-0.22, -0.2), (0.22, -0.2), (0.45, 0.65), (0.38, FLOOR), (-0.38, FLOOR), (-0.45, 0.65))
        pen.blob(0, 0.45, 0.4, 0.36)
        x, y = rng.normal(0, 0.04), -0.4
    else:
        hip, (x, y) = _trunk(pen, build)
        bend = rng.uniform(-0.2, 0.1)
        pen.limb(hip, (hip[0] - 0.3, hip[1] - 0.15), (hip[0] - 0.3 + bend, hip[1] - 0.75), width=0.1)
    pen.blob(x, y, 0.27, 0.24)
    _ears(pen, x, y - 0.08, 0.16, 0.1, 0.34)
    for way in (-1, 1):
        pen.blob(x + way * 0.11, y - 0.02, 0.055, 0.05, "light")
    pen.blob(x, y + 0.09, 0.04, 0.035, "dark")


def _dog(pen: Pen) -> None:
    rng, build = pen.rng, BUILDS["dog"]
    if rng.random() < 0.3:
        return _muzzle_front(pen, pointed=False)
    hip, head = _trunk(pen, build)
    pen.limb(hip, (hip[0] - 0.22, hip[1] - 0.1), (hip[0] - 0.3, hip[1] - rng.uniform(0.0, 0.4)), width=0.09)
    _head(pen, build, head, rng.uniform(0.0, 0.3))
    pen.limb((head[0] - 0.1, head[1] - 0.08), (head[0] - 0.14, head[1] + rng.uniform(0.16, 0.26)),
             width=0.15, tone="dark")  # fmt: skip


def _muzzle_front(pen: Pen, pointed: bool) -> None:
    """A cat's or a dog's head from the front, above its chest."""
    rng = pen.rng
    pen.shape((-0.35, 0.3), (0.35, 0.3), (0.55, 1.0), (-0.55, 1.0))
    y = rng.uniform(-0.15, 0.05)
    pen.blob(0, y, 0.58, 0.52 if pointed else 0.56)
    if pointed:
        _ears(pen, 0, y - 0.22, 0.36, 0.2, 0.6)
        for way in (-1, 1):
            pen.blob(way * 0.24, y - 0.05, 0.14, 0.12, "light")
            pen.blob(way * 0.24, y - 0.05, 0.05, 0.11, "dark")
        pen.blob(0, y + 0.24, 0.24, 0.15, "second")
        pen.shape((-0.08, y + 0.15), (0.08, y + 0.15), (0, y + 0.26), tone="dark")
        return
    for way in (-1, 1):
        pen.limb((way * 0.45, y - 0.36), (way * 0.64, y), (way * 0.6, y + 0.35), width=0.26, tone="dark")
        pen.blob(way * 0.22, y - 0.12, 0.08, 0.08, "dark")
    pen.blob(0, y + 0.3, 0.33, 0.32, "second")
    pen.blob(0, y + 0.15, 0.14, 0.1, "dark")
    if rng.random() < 0.5:
        pen.blob(0, y + 0.55, 0.1, 0.17, "tongue")


def _deer(pen: Pen) -> None:
    rng, build = pen.rng, BUILDS["deer"]
    hip, head = _trunk(pen, build)
    pen.limb(hip, (hip[0] - 0.22, hip[1] - 0.02), width=0.1, tone="second")
    _head(pen, build, head, rng.uniform(0.1, 0.5))
    x, y = head
    pen.shape((x - 0.1, y - 0.05), (x - 0.02, y - 0.1), (x - 0.26, y - 0.22))
    size = rng.uniform(0.7, 1.15)
    for lean in (-0.22, 0.12):
        tip = (x + lean * size - 0.05, y - 0.52 * size)
        middle = (x + 1.1 * lean * size - 0.06, y - 0.28 * size)
        pen.limb((x - 0.02, y - 0.08), middle, tip, width=0.06, tone="horn")
        pen.limb(middle, (middle[0] + 0.16 * size, middle[1] - 0.16 * size), width=0.05, tone="horn")


def _horse(pen: Pen) -> None:
    rng, build = pen.rng, BUILDS["horse"]
    hip, head = _trunk(pen, build)
    fall = rng.uniform(0.35, 0.6)
    pen.limb((hip[0] - 0.1, hip[1] - 0.08), (hip[0] - 0.3, hip[1] + 0.1), (hip[0] - 0.32, hip[1] + fall),
             width=0.15, tone="mane")  # fmt: skip
    _head(pen, build, head, rng.uniform(0.5, 1.0))
    x, y = head
    shoulder = (build.length - 0.2, FLOOR - build.leg - build.depth - 0.15)
    pen.limb((x - 0.02, y - 0.1), (x - 0.17, y + 0.1), shoulder, width=0.14, tone="mane")
    _ears(pen, x - 0.02, y - 0.1, 0.04, 0.04, 0.16)


def _monkey(pen: Pen) -> None:
    rng = pen.rng
    curl = rng.uniform(-0.15, 0.15)
    pen.limb((-0.3, 0.6), (-0.72, 0.55), (-0.85, 0.1), (-0.65, -0.15 + curl), (-0.5, 0.05 + curl), width=0.09)
    pen.blob(0, 0.35, 0.36, 0.44)
    pen.blob(0.03, 0.42, 0.2, 0.28, "second")
    for way in (-1, 1):
        pen.limb((way * 0.25, 0.6), (way * 0.55, 0.45), (way * 0.45, FLOOR), width=0.15)
        hand = (way * rng.uniform(0.5, 0.7), rng.choice((-0.5, 0.2, 0.65)))
        pen.limb((way * 0.25, 0.1), (way * 0.58, 0.2), hand, width=0.13)
    x, y = rng.normal(0, 0.05), -0.35
    for way in (-1, 1):
        pen.blob(x + way * 0.37, y, 0.13, 0.14)
        pen.blob(x + way * 0.37, y, 0.07, 0.08, "face")
    pen.blob(x, y, 0.36, 0.34)
    for way in (-1, 1):
        pen.blob(x + way * 0.12, y - 0.04, 0.15, 0.15, "face")
        pen.blob(x + way * 0.12, y - 0.04, 0.045, 0.05, "dark")
    pen.blob(x, y + 0.16, 0.22, 0.16, "face")
    pen.limb((x - 0.1, y + 0.2), (x + 0.1, y + 0.2), width=0.035, tone="dark")


def _bird(pen: Pen) -> None:
    rng = pen.rng
    flying = rng.random() < 0.4
    y = 0.1 if flying else 0.15
    pen.shape((-0.3, y - 0.1), (-0.95, y + rng.uniform(-0.15, 0.25)), (-0.85, y + 0.25), (-0.2, y + 0.2), tone="wing")
    if flying:
        up = rng.choice((-1, 1)) * rng.uniform(0.65, 0.95)
        pen.shape((0.25, y), (-0.05, y + 0.7 * up), (-0.35, y + up), (-0.3, y), tone="wing")
    else:
        for x in (-0.02, 0.12):
            pen.limb((x, 0.4), (x + 0.02, FLOOR), (x + 0.12, FLOOR), width=0.05, tone="horn")
    pen.blob(0, y, 0.46, 0.3)
    pen.blob(0.1, y + 0.1, 0.3, 0.19, "second")
    head = (0.42, y - rng.uniform(0.22, 0.42))
    pen.limb((0.25, y - 0.05), head, width=0.3)
    pen.blob(*head, 0.21, 0.2)
    long = rng.uniform(0.2, 0.34)
    pen.shape((head[0] + 0.15, head[1] - 0.08), (head[0] + 0.17 + long, head[1] + 0.05),
              (head[0] + 0.13, head[1] + 0.1), tone="beak")  # fmt: skip
    pen.blob(head[0] + 0.07, head[1] - 0.04, 0.045, 0.045, "dark")
    if not flying:
        pen.shape((0.15, y - 0.12), (-0.25, y - 0.15), (-0.6, y + 0.1), (-0.1, y + 0.15), tone="wing")
    else:
        pen.shape((0.2, y), (-0.2, y + 0.8 * up), (-0.55, y + 0.9 * up), (-0.25, y + 0.05), tone="wing")


def _frog(pen: Pen) -> None:
    rng = pen.rng
    y = FLOOR - 0.3
    pen.shape((-0.75, FLOOR - 0.2), (-0.3, y - 0.2), (0.25, y - 0.5), (0.6, y - 0.35), (0.75, y - 0.1),
              (0.5, FLOOR - 0.1), (-0.5, FLOOR))  # fmt: skip
    pen.blob(-0.1, y, 0.6, 0.32)
    pen.blob(0.38, y - 0.25, 0.38, 0.27)
    pen.blob(0.35, y + 0.1, 0.32, 0.17, "second")
    pen.limb((0.1, y - 0.05), (0.74, y - 0.16), width=0.045, tone="dark")
    for x in (0.2, 0.5):
        pen.blob(x, y - 0.5, 0.15, 0.15)
        pen.blob(x + 0.02, y - 0.5, 0.1, 0.1, "light")
        pen.blob(x + 0.04, y - 0.5, 0.05, 0.06, "dark")
    knee = (-0.15, y - rng.uniform(0.05, 0.2))
    pen.limb((-0.6, FLOOR - 0.12), knee, (-0.35, FLOOR), (0.0, FLOOR), width=0.17, tone="wing")
    pen.limb((0.35, FLOOR - 0.25), (0.45, FLOOR), (0.65, FLOOR), width=0.12, tone="wing")
    for _ in range(rng.integers(6)):
        pen.blob(rng.uniform(-0.5, 0.2), y - rng.uniform(-0.05, 0.2), 0.06, 0.05, "wing")


ANIMALS = {
    "bird": _bird, "cat": _cat, "deer": _deer, "dog": _dog, "frog": _frog, "horse": _horse, "monkey": _monkey,
}  # fmt: skip
