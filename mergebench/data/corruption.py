"""Corrupted images: the same bits in every process, image by image, with draws that all severities share."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One way to damage an image, in five severities.

    Args:
        name: the corruption's identifier, in lower case with hyphens.
        title: its name for people.
        definition: its formula and source, in one line.
        apply: (image uint8 [H, W, 3], severity 1 to 5, generator) -> uint8 [H, W, 3]; draws the same numbers at every
            severity, so that severities differ in strength only.
        version: raise it whenever `apply` would give other pixels.
        library: names the release of a library whose releases are known to give other bits; empty if there is none.
    """

    name: str
    title: str
    definition: str
    apply: Callable[["np.ndarray", int, "np.random.Generator"], "np.ndarray"]
    version: int = 1
    library: Callable[[], str] = str

    def label(self, severity: int) -> str:
        """What tells corrupted images from all others: two of one label, of the same images, are the same bits."""
        library = self.library()
        return f"{self.name}-{severity}-v{self.version}" + (f"-{library}" if library else "")


def corrupt(corruption: Corruption, images: "np.ndarray", severity: int, key: str, seed: int = 0) -> "np.ndarray":
    """Every image corrupted with a generator of its own, whatever other images there are.

    Args:
        images: uint8 [N, H, W, 3], left as they are.
        severity: 1 (slight) to 5 (strong).
        key: what the images are, such as "scenes/test"; other keys draw other numbers.
        seed: another seed draws other numbers.

    Returns:
        uint8 [N, H, W, 3].

    Raises:
        MergebenchError: an unknown severity, images of another kind or shape, or a corruption that breaks its contract.
    """
    import numpy as np

    images = np.asarray(images)
    made = list(corrupted(corruption, images, severity, key, seed))
    return np.stack(made) if made else images.copy()


def corrupted(
    corruption: Corruption, images: "np.ndarray", severity: int, key: str, seed: int = 0
) -> "Iterator[np.ndarray]":
    """As `corrupt`, one image after the other: uint8 [H, W, 3] each. Refuses what it refuses before the first."""
    import numpy as np

    check_severity(severity)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
        raise MergebenchError(f"images to corrupt must be uint8 [N, H, W, 3], not {images.dtype} {list(images.shape)}")

    def one(index: int) -> "np.ndarray":
        # A copy, so that no corruption can write into what it was given.
        image = np.array(images[index])
        made = corruption.apply(image, int(severity), generator(corruption, key, index, seed))
        if made.dtype != np.uint8 or made.shape != images.shape[1:]:
            raise MergebenchError(
                f"corruption {corruption.name!r} made {made.dtype} {list(made.shape)} of uint8 {list(images.shape[1:])}"
            )
        return made

    return map(one, range(len(images)))


def check_severity(severity: int) -> None:
    """Refuses, by a MergebenchError, a severity that no corruption has."""
    if severity not in SEVERITIES:
        raise MergebenchError(f"no severity {severity!r}; there are: {', '.join(map(str, SEVERITIES))}")


def generator(corruption: Corruption, key: str, index: int, seed: int = 0) -> "np.random.Generator":
    """The random numbers of image `index` of `key`; the severity has no part in them."""
    import numpy as np

    text = json.dumps([corruption.name, key, int(index), int(seed)])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest(), "little"))
