"""From computed values back to an image."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def as_bytes(values: "np.ndarray") -> "np.ndarray":
    """Values on the scale 0 to 255 as uint8: clipped, and rounded to the nearest level."""
    import numpy as np

    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
